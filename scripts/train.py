"""`cnn-research train`, as a script."""

from research.cli.train import main

if __name__ == "__main__":
    main()
