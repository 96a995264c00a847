"""`cnn-research compress`, as a script."""

from research.cli.compress import main

if __name__ == "__main__":
    main()
