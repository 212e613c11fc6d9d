"""The arrow: a room imports only rooms further left, never a neighbour (docs/design/overview.md)."""

from pathlib import Path

import pytest

from tests.house import tree

# Rooms of one line are neighbours. A room is a folder or a single file of src/mailgenius.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("_native",),
    ("config", "telemetry", "rt"),
    ("address",),
    ("link", "pool", "tuning"),
    ("cache", "queue", "leads", "servers"),
    ("importer", "mailer", "upload", "worker", "monitoring"),
    ("web",),
    ("app",),
    ("",),  # mailgenius/__init__.py: the public names
    ("cli", "testing"),
)
PLACE = {room: place for place, line in enumerate(ROOMS) for room in line}


def room_of(dotted: str) -> str:
    """mailgenius.pool._sync -> pool; a name that is no room is a public name, so it belongs to "" (__init__)."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in PLACE else ""


def offences(path: Path) -> list[str]:
    mine = room_of(tree.module(path))
    found = []
    for line, target in tree.imports(path, types_too=True):
        if target.split(".")[0] != "mailgenius":
            continue
        theirs = room_of(target)
        if theirs != mine and PLACE[theirs] >= PLACE[mine]:
            found.append(f"{tree.name(path)}:{line} ({mine or '__init__'}) imports {target}, which is not further left")
    return found


def test_every_file_belongs_to_a_room() -> None:
    known = set(PLACE)
    tree.report(
        [
            f"{tree.name(path)}: no such room; add it to ROOMS where it belongs in the arrow"
            for path in tree.PACKAGE.iterdir()
            if (path.suffix == ".py" or (path / "__init__.py").exists())
            and path.stem not in known | {"__init__", "__main__"}
        ]
    )


def test_rooms_import_only_what_is_further_left() -> None:
    tree.report([offence for path in tree.files("src/mailgenius", suffixes={".py"}) for offence in offences(path)])


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("import mailgenius.pool", []),
        ("from .. import errors, _native", []),
        ("from ..importer import run", ["importer"]),
        ("from mailgenius import open", ["mailgenius.open"]),
        ("def f():\n    from ..cache import Cache", ["cache"]),
        ("if TYPE_CHECKING:\n    from ..app import Mailgenius", ["app"]),
        ("from .model import Lead", []),
    ],
)
def test_the_rule_sees_every_form_of_import(
    code: str, wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "mailgenius"
    file = package / "leads" / "probe.py"
    file.parent.mkdir(parents=True)
    file.write_text(code)
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    monkeypatch.setattr(tree, "PACKAGE", package)
    found = offences(file)
    assert len(found) == len(wrong)
    assert all(part in offence for part, offence in zip(wrong, found, strict=True))
