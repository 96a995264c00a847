"""`cnn-research check-gradients`, as a script."""

from research.cli.check_gradients import main

if __name__ == "__main__":
    main()
