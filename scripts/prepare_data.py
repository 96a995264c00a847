"""`cnn-research prepare-data`, as a script."""

from research.cli.prepare_data import main

if __name__ == "__main__":
    main()
