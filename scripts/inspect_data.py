"""`cnn-research inspect-data`, as a script."""

from research.cli.inspect_data import main

if __name__ == "__main__":
    main()
