"""`cnn-research report`, as a script."""

from research.cli.report import main

if __name__ == "__main__":
    main()
