"""Named queries: one file each, a header that says what it answers and which index serves it."""

from functools import cache
from importlib import resources


@cache
def query(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.sql").read_text("utf-8")
