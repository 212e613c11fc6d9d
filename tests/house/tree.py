"""The project's files, as the house tests see them. Found by walking: an unpacked archive works like a clone."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mailgenius"
NATIVE = ROOT / "src" / "_native"
CODE = {".py", ".pyi", ".pyx", ".pxi", ".pxd", ".c", ".h", ".sql", ".lua"}
TEXT = CODE | {".md", ".toml", ".txt", ".yml"}


def files(*tops: str, suffixes: set[str] = CODE) -> Iterator[Path]:
    """Files below the named folders of the project (or the named files themselves), caches left out."""
    for top in tops:
        start = ROOT / top
        found = [start] if start.is_file() else sorted(start.rglob("*"))
        for path in found:
            if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts:
                yield path


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    """The dotted name a file of the package is imported by."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path, *, types_too: bool) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of everything a module imports, wherever the statement stands.

    ``from a.b import c`` gives ``a.b.c``: whether c is a module or a name in it, the prefix says what is touched.
    With ``types_too`` false, what stands below ``if TYPE_CHECKING:`` is left out: it does not run.
    """
    here = module(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    yield from _imports(parse(path), package, types_too)


def _imports(node: ast.AST, package: list[str], types_too: bool) -> Iterator[tuple[int, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield child.lineno, alias.name
        elif isinstance(child, ast.ImportFrom):
            base = package[: len(package) - child.level + 1] if child.level else []
            if child.module:
                base = [*base, child.module]
            for alias in child.names:
                yield child.lineno, ".".join([*base, alias.name])
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not types_too:
            for other in child.orelse:
                yield from _imports(other, package, types_too)
        else:
            yield from _imports(child, package, types_too)


def report(offences: list[str]) -> None:
    """Fails with one line for each offence."""
    if offences:
        raise AssertionError("\n  ".join([f"{len(offences)} offence(s):", *offences]))
