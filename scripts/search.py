"""`cnn-research search`, as a script."""

from research.cli.search import main

if __name__ == "__main__":
    main()
