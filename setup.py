"""Puts the folder conf into the package as research/conf; pyproject.toml says all else about the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["research", "research.*"]), "research.conf"],
    package_dir={"research.conf": "conf"},
)
