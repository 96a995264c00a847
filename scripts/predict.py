"""`cnn-research predict`, as a script."""

from research.cli.predict import main

if __name__ == "__main__":
    main()
