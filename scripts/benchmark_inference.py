"""`cnn-research benchmark-inference`, as a script."""

from research.cli.benchmark_inference import main

if __name__ == "__main__":
    main()
