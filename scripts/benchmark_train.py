"""`cnn-research benchmark-train`, as a script."""

from research.cli.benchmark_train import main

if __name__ == "__main__":
    main()
