"""`cnn-research sweep-status`, as a script."""

from research.cli.sweep_status import main

if __name__ == "__main__":
    main()
