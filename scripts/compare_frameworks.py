"""`cnn-research compare-frameworks`, as a script."""

from research.cli.compare_frameworks import main

if __name__ == "__main__":
    main()
