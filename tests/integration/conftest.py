"""Fixtures of the unit tests that the tests with processes use as well."""

from tests.data.conftest import server, source, written

__all__ = ["server", "source", "written"]
