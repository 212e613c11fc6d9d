"""Named queries: one file each, a header that says what it answers and which index serves it.

Where a query depends on a segment or an order, its file has ``{segment}`` and the like: places for SQL that pure modules
make. Values are never put in; they travel as parameters.
"""

from functools import cache
from importlib import resources


@cache
def _text(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.sql").read_text("utf-8")


def planned_for(workspace: int, text: str) -> str:
    """The text with the number of the workspace in it, for statements that read a large part of one: PostgreSQL then plans
    for this workspace, and not for one of average size."""
    return text.replace("%(workspace)s::int4", f"{workspace:d}")


def query(name: str, **parts: str) -> str:
    """The text of ``<name>.sql`` with ``parts`` in their places."""
    text = _text(name)
    for place, part in parts.items():
        text = text.replace(f"{{{place}}}", part)
    return text
