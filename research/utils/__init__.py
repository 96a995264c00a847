"""Helpers that know nothing of the project: files, signals, names, processors and options of XLA."""
