"""The trained run that all tests of this folder share."""

import pytest


@pytest.fixture(scope="session")
def run_folder(run_with_batch_norm):
    return run_with_batch_norm
