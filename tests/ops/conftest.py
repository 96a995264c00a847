import pytest


@pytest.fixture(autouse=True)
def _strict(strict_types):
    """Ops and layers hold under strict dtype and rank promotion."""
