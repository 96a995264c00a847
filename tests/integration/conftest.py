"""Fixtures of the unit tests that the tests with processes use as well."""

from tests.data.conftest import server, source, written
from tests.studies.conftest import depth_study

__all__ = ["depth_study", "server", "source", "written"]
