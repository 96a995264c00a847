"""`cnn-research inspect-model`, as a script."""

from research.cli.inspect_model import main

if __name__ == "__main__":
    main()
