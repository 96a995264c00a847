"""`cnn-research export`, as a script."""

from research.cli.export import main

if __name__ == "__main__":
    main()
