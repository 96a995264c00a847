"""Helpers that know nothing of the project: files, signals, names, processors, XLA's options."""
