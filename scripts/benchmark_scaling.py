"""`cnn-research benchmark-scaling`, as a script."""

from research.cli.benchmark_scaling import main

if __name__ == "__main__":
    main()
