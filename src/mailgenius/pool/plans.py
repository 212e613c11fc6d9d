"""A plan of PostgreSQL (``explain (format json)``) as text, without the values in its conditions. Pure.

JSON and not PostgreSQL's own text, because a value with a line end in it would look like a line of the plan there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mailgenius.pool.statements import normalise

__all__ = ["plan_text"]

#: Said in the line of a node itself, or left out because they say little without ``analyze``.
_SAID = {
    "Node Type", "Parent Relationship", "Subplan Name", "Startup Cost", "Total Cost", "Plan Rows", "Plan Width",
    "Relation Name", "Schema", "Alias", "Index Name", "Plans", "Join Type", "Scan Direction", "Strategy", "Operation",
    "Partial Mode", "Parallel Aware", "Async Capable", "Inner Unique", "Single Copy", "Disabled", "Function Name",
    "CTE Name",
}  # fmt: skip


def plan_text(explained: Any, *, values: bool = False) -> str:
    """``explained``: what PostgreSQL answered, decoded. ``values``: with the literals and parameters in it; they are
    people's data, so that conditions have ``?`` in their places otherwise."""
    shown: Callable[[str], str] = (lambda text: text) if values else normalise
    return "\n".join(line for one in explained for line in _node(one["Plan"], 0, shown))


def _node(node: dict[str, Any], depth: int, shown: Callable[[str], str]) -> Iterator[str]:
    indent = "      " * depth
    if name := node.get("Subplan Name"):
        yield f"{indent}{name}"
    yield f"{indent}{'->  ' if depth else ''}{_title(node)}"
    for key, value in node.items():
        if key in _SAID or isinstance(value, dict) or value is None:
            continue
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        yield f"{indent}{'      ' if depth else '  '}{key}: {shown(value) if isinstance(value, str) else value}"
    for inner in node.get("Plans", ()):
        yield from _node(inner, depth + 1, shown)


def _title(node: dict[str, Any]) -> str:
    name = node["Node Type"]
    if (join := node.get("Join Type", "Inner")) != "Inner":
        name += f" {join}"
    if node.get("Scan Direction") == "Backward":
        name += " backward"
    if index := node.get("Index Name"):
        name += f" using {index}"
    on = node.get("Relation Name") or node.get("Function Name") or node.get("CTE Name")
    alias = node.get("Alias")
    if on or alias:
        name += f" on {on or alias}" + (f" {alias}" if on and alias and alias != on else "")
    cost = f"cost={node['Startup Cost']:.2f}..{node['Total Cost']:.2f}"
    return f"{name}  ({cost} rows={node['Plan Rows']} width={node['Plan Width']})"
