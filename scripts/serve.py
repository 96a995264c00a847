"""`cnn-research serve`, as a script."""

from research.cli.serve import main

if __name__ == "__main__":
    main()
