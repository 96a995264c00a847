"""`cnn-research evaluate`, as a script."""

from research.cli.evaluate import main

if __name__ == "__main__":
    main()
