"""Timings that anyone can repeat: alternated in one process, medians and quartiles, nothing asserted."""
