"""The commands: each is a module, and `wrapper` runs all of them. No other folder imports Hydra."""

import os

# On a CPU, XLA logs an error for each program that it reads from the cache, because it looks for preferences
# of the compiler, such as "prefer-no-gather", among the features of the machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
