"""`cnn-research find-batch-size`, as a script."""

from research.cli.find_batch_size import main

if __name__ == "__main__":
    main()
