"""`cnn-research find-learning-rate`, as a script."""

from research.cli.find_learning_rate import main

if __name__ == "__main__":
    main()
