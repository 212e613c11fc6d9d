"""The compiled core and its stub say the same names. (That the signatures agree is stubtest's part: ``make lint``.)"""

import ast

from mailgenius import _native
from tests.house import tree

STUB = tree.PACKAGE / "_native.pyi"


def stub_all() -> list[str]:
    names: list[str] = []
    for node in tree.parse(STUB).body:
        if isinstance(node, ast.Assign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__":
                names += ast.literal_eval(node.value)
    return names


def stub_definitions() -> set[str]:
    names = set()
    for node in tree.parse(STUB).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_all_agrees() -> None:
    core, stub = set(_native.__all__), set(stub_all())
    tree.report(
        [f"_native.pyi: __all__ lacks {name}, which the core exports" for name in sorted(core - stub)]
        + [f"_native.pyi: __all__ has {name}, which the core does not export" for name in sorted(stub - core)]
    )


def test_all_has_no_name_twice() -> None:
    for names in (list(_native.__all__), stub_all()):
        tree.report([f"{name} stands twice in __all__" for name in sorted(set(names)) if names.count(name) > 1])


def test_every_name_is_there_and_typed() -> None:
    typed = stub_definitions()
    tree.report(
        [
            f"_native.__all__ has {name}, which the module lacks"
            for name in _native.__all__
            if not hasattr(_native, name)
        ]
        + [f"_native.pyi: {name} is not typed" for name in stub_all() if name not in typed]
        + [
            f"_native.pyi: {name} is typed but not in __all__"
            for name in sorted(typed - set(stub_all()))
            if not name.startswith("_")
        ]
    )


def test_the_core_says_where_it_lives() -> None:
    """Without --module-name, Cython's classes would pickle and print as _native.X."""
    for name in _native.__all__:
        value = getattr(_native, name)
        if isinstance(value, type):
            assert value.__module__ == "mailgenius._native", name


def test_reasons_are_codes_with_texts() -> None:
    assert len(_native.REASONS) == len(_native.REASON_TEXTS) == len(set(_native.REASONS)) <= 256
    assert _native.REASONS[0] == "ok"
