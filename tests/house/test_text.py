"""What every file of the project owes its reader."""

import ast
import re
import tomllib

from tests.house import tree

MAX_LINES = 500
HERE = "tests/house/test_text.py"
# Long for a reason: generated tables and the like.
LONG: dict[str, str] = {}
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
EVERYWHERE = (
    "src",
    "tests",
    "benchmarks",
    "tools",
    "docs",
    "conftest.py",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)


def test_no_file_is_long() -> None:
    tree.report(
        [
            f"{tree.name(path)} has {lines} lines, over {MAX_LINES}: one idea a file"
            for path in tree.files("src", "tests", "benchmarks", "tools", "conftest.py")
            if (lines := path.read_bytes().count(b"\n")) > MAX_LINES and tree.name(path) not in LONG
        ]
    )


def test_nothing_is_left_for_later() -> None:
    tree.report(
        [
            f"{tree.name(path)}:{number} says {found.group()}"
            for path in tree.files(*EVERYWHERE, suffixes=tree.TEXT)
            if tree.name(path) != HERE
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
            if (found := LEFTOVER.search(line))
        ]
    )


def test_files_are_plain_text() -> None:
    """UTF-8, LF, a newline at the end, no tab or space before it; tabs indent Makefiles alone."""
    bad = []
    for path in tree.files(*EVERYWHERE, suffixes=tree.TEXT):
        data = path.read_bytes()
        data.decode("utf-8")
        if b"\r" in data:
            bad.append(f"{tree.name(path)} has CR line ends")
        if data and not data.endswith(b"\n"):
            bad.append(f"{tree.name(path)} does not end with a newline")
        bad += [
            f"{tree.name(path)}:{number} ends with a space or tab"
            for number, line in enumerate(data.split(b"\n"), 1)
            if line.endswith((b" ", b"\t"))
        ]
    tree.report(bad)


# Files that may let time pass: one measures how busy the machine is, the other asks when a question is due.
SAMPLERS = {"benchmarks/room.py", "benchmarks/scenarios/users.py"}


def test_tests_do_not_sleep() -> None:
    """A test waits for what it expects (a lock, a line, an exit) up to a deadline; it does not guess how long."""
    tree.report(
        [
            f"{tree.name(path)}:{node.lineno} sleeps"
            for path in tree.files("tests", "benchmarks", "conftest.py", suffixes={".py"})
            if tree.name(path) not in SAMPLERS
            for node in ast.walk(tree.parse(path))
            if isinstance(node, ast.Call)
            and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")) == "sleep"
            and ast.unparse(node) != "asyncio.sleep(0)"  # lets other tasks have their turn, and waits for nothing
        ]
    )


def test_modules_and_kernels_say_what_they_are_for() -> None:
    bad = [
        f"{tree.name(path)} has no docstring"
        for path in tree.files("src/mailgenius", "benchmarks", "tools", suffixes={".py"})
        if path.stat().st_size and not ast.get_docstring(tree.parse(path))
    ]
    bad += [
        f"{tree.name(path)} does not begin with a comment"
        for path in tree.files("src/_native", suffixes={".c", ".h", ".pxi", ".pyx", ".pxd"})
        if not path.read_text("utf-8").lstrip().startswith(("/*", "//", "#", '"""'))
    ]
    tree.report(bad)


def test_dependencies_are_explained() -> None:
    """Every requirement in pyproject.toml has a line in docs/design/dependencies.md, and no line is stale."""
    project = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += [r for group in project["project"]["optional-dependencies"].values() for r in group]
    wanted += [r for group in project["dependency-groups"].values() for r in group if isinstance(r, str)]
    names = {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in wanted}
    text = (tree.ROOT / "docs" / "design" / "dependencies.md").read_text("utf-8")
    explained = set(re.findall(r"^\| `([A-Za-z0-9_.-]+)", text, re.M))
    tree.report(
        [f"docs/design/dependencies.md does not explain {name}" for name in sorted(names - explained)]
        + [
            f"docs/design/dependencies.md explains {name}, which pyproject.toml does not ask for"
            for name in sorted(explained - names)
        ]
    )
