"""One network in several frameworks: the same weights, the same batches, the same optimizer."""
