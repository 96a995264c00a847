"""The folder of the configuration files, in a checkout and in an installed package."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""`research/conf` in an installed package, and `conf` beside `research` in a checkout."""
