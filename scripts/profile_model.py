"""`cnn-research profile-model`, as a script."""

from research.cli.profile_model import main

if __name__ == "__main__":
    main()
