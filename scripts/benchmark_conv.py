"""`cnn-research benchmark-conv`, as a script."""

from research.cli.benchmark_conv import main

if __name__ == "__main__":
    main()
