"""The command line: ``mailgenius import | leads | validate-email | migrate``. It goes through the public API."""

from mailgenius.cli.main import main

__all__ = ["main"]
