"""`cnn-research show-augmentations`, as a script."""

from research.cli.show_augmentations import main

if __name__ == "__main__":
    main()
