"""`cnn-research benchmark-sweep`, as a script."""

from research.cli.benchmark_sweep import main

if __name__ == "__main__":
    main()
