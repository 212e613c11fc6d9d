"""Named queries: one file each, a header that says what it answers and which index serves it.

Where a query depends on a segment or an order, its file has ``{segment}`` and the like: places for SQL that pure modules
make. Values are never put in; they travel as parameters.
"""

from functools import cache
from importlib import resources


@cache
def _text(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.sql").read_text("utf-8")


def query(name: str, **parts: str) -> str:
    """The text of ``<name>.sql`` with ``parts`` in their places."""
    text = _text(name)
    for place, part in parts.items():
        text = text.replace(f"{{{place}}}", part)
    return text
