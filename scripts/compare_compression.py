"""`cnn-research compare-compression`, as a script."""

from research.cli.compare_compression import main

if __name__ == "__main__":
    main()
