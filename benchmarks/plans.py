"""How PostgreSQL answers each kind of question: docs/design/plans.md, made from EXPLAIN on the world.

    python -m benchmarks.plans [--large | --small]

A statement is prepared and run as often as PostgreSQL tries plans made to measure, so that the plan shown is the one that
a warm connection uses. Limit: changes (tag, untag, update_many) are not explained.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import sql

from mailgenius.leads import Leads
from mailgenius.leads.sql import query
from mailgenius.pool import Pool

from .questions import Questions
from .world import LARGE, SMALL, USUAL, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .questions import Ask
    from .world import World

PAGE = Path(__file__).resolve().parent.parent / "docs" / "design" / "plans.md"
TRIES = 6  # from then on PostgreSQL may use one plan for all parameters
LONGEST = 110  # characters of a condition that are shown


class Plan(msgspec.Struct, frozen=True):
    nodes: dict[str, Any]
    milliseconds: float
    children: dict[str, str] = {}  # index of a partition: the index of the whole

    def walk(self) -> Iterator[dict[str, Any]]:
        todo = [self.nodes]
        while todo:
            node = todo.pop()
            yield node
            todo += node.get("Plans", [])

    @property
    def indexes(self) -> list[str]:
        found = {node["Index Name"] for node in self.walk() if "Index Name" in node}
        return sorted({self.children.get(name, name) for name in found})

    @property
    def rows(self) -> int:
        """Rows that were read from tables and indexes, wanted or not."""
        found = 0
        for node in self.walk():
            if "Relation Name" in node or ("Index Name" in node and "Plans" not in node):
                found += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        return round(found)

    @property
    def scanned(self) -> list[str]:
        """Tables that are read as a whole."""
        return sorted({node["Relation Name"] for node in self.walk() if node["Node Type"].endswith("Seq Scan")})


class Recorder:
    """A pool that remembers what it was asked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        inner: Callable[..., Any] = getattr(self._pool, name)
        if name not in ("fetch", "fetch_one", "fetch_value"):
            return inner

        def remembered(text: str, params: Any = None, *args: Any, **keywords: Any) -> Any:
            if text not in (query("workspace_id"), query("leads_index")):
                self.asked.append((text, dict(params or {})))
            return inner(text, params, *args, **keywords)

        return remembered


def statements(pool: Pool, ask: Ask) -> list[tuple[str, dict[str, Any]]]:
    """What a question sends to PostgreSQL."""
    recorder = Recorder(pool)
    ask.of(Leads(recorder))  # type: ignore[arg-type]
    return recorder.asked


def explain(conn: psycopg.Connection[Any], text: str, params: dict[str, Any]) -> Plan:
    """The plan of a statement that has been asked often."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    for number, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${number}")
    conn.prepare_threshold = None  # the driver would prepare on its own
    conn.execute("deallocate all")
    conn.execute(f"prepare asked as {text.replace('%%', '%')}".encode())
    given = (
        sql.SQL("({})").format(sql.SQL(", ").join(sql.Literal(params[name]) for name in names))
        if names
        else sql.SQL("")
    )
    execute = sql.SQL("execute asked {}").format(given)
    for _ in range(TRIES):
        conn.execute(execute)
    row = conn.execute(sql.SQL("explain (analyze, buffers, format json) {}").format(execute)).fetchone()
    assert row is not None
    children = conn.execute(
        "select c.relname, p.relname from pg_inherits"
        " join pg_class c on c.oid = inhrelid join pg_class p on p.oid = inhparent where c.relkind = 'i'"
    ).fetchall()
    return Plan(row[0][0]["Plan"], row[0][0]["Execution Time"], dict(children))


def lines(node: dict[str, Any], depth: int = 0) -> list[str]:
    """A plan in short: nodes, what they use, rows, time. Of partitions, the one with the most rows."""
    what = node["Node Type"]
    if "Index Name" in node:
        what += f" using {node['Index Name']}"
    if "Relation Name" in node:
        what += f" on {node['Relation Name']}"
    elif "Function Name" in node:
        what += f" on {node['Function Name']}"
    if node["Actual Loops"] == 0:
        return [f"{'  ' * depth}{what}  (not needed)"]
    found, expected = (node[f"{how} Rows"] * node["Actual Loops"] for how in ("Actual", "Plan"))
    rows = f"{found:,.0f} rows of {expected:,.0f} expected"
    loops = f", {node['Actual Loops']:,} ×" if node["Actual Loops"] > 1 else ""
    out = [f"{'  ' * depth}{what}  ({rows}{loops})"]
    for name in ("Index Cond", "Recheck Cond", "Hash Cond", "Filter", "Sort Key"):
        # A recheck says again what the index below it says.
        if name in node and not (name == "Recheck Cond" and "Plans" in node):
            says = ", ".join(node[name]) if isinstance(node[name], list) else node[name]
            out.append(f"{'  ' * depth}    {name}: {says[:LONGEST] + ' …' if len(says) > LONGEST else says}")
    if removed := node.get("Rows Removed by Filter", 0):
        out.append(f"{'  ' * depth}    {removed * node['Actual Loops']:,.0f} rows removed by the filter")
    plans = node.get("Plans", [])
    if node["Node Type"] in ("Append", "Merge Append") and len(plans) > 2:
        most = max(plans, key=lambda plan: plan["Actual Rows"] * plan["Actual Loops"])
        return [*out, *lines(most, depth + 1), f"{'  ' * depth}  … and {len(plans) - 1} more such"]
    return out + [line for plan in plans for line in lines(plan, depth + 1)]


def page(world: World, conninfo: str) -> str:
    table = ["| question | indexes | without index | rows read | ms |", "|---|---|---|---:|---:|"]
    details: list[str] = []
    with Pool(conninfo) as pool, psycopg.connect(conninfo, autocommit=True) as conn:
        for kind in Questions(world, Leads(pool)).kinds:
            if kind.asks[0].method == "estimate":
                continue  # a plan itself, which nobody carries out
            ask = kind.asks[0]
            details += [f"### {kind.name[0].upper()}{kind.name[1:]}", ""]
            plans = [explain(conn, text, params) for text, params in statements(pool, ask)]
            for plan in plans:
                hit, read = (plan.nodes.get(f"Shared {how} Blocks", 0) for how in ("Hit", "Read"))
                details += [
                    "```text",
                    *lines(plan.nodes),
                    f"{plan.milliseconds:.2f} ms, {hit + read:,} pages",
                    "```",
                    "",
                ]
            used = ", ".join(dict.fromkeys(name for plan in plans for name in plan.indexes)) or "–"
            scanned = ", ".join(dict.fromkeys(name for plan in plans for name in plan.scanned)) or "–"
            rows, took = sum(plan.rows for plan in plans), sum(plan.milliseconds for plan in plans)
            table.append(f"| {kind.name} | {used} | {scanned} | {rows:,} | {took:.2f} |")
            print(table[-1], flush=True)
    largest = world.largest.leads
    return "\n".join(
        [
            "# Plans",
            "",
            "<!-- Made by `python -m benchmarks.plans`. -->",
            "",
            f"How PostgreSQL answers each kind of question about {world.size.leads:,} leads and {world.size.sends:,} sends "
            f"(the largest workspace has {largest:,} leads), with the parameters that come first. Prepared statements, run "
            f"{TRIES} times before: what a warm connection uses. Indexes of partitions go by the name of the whole. "
            "Time under EXPLAIN, which is more than without; how long answers really take: [benchmarks](../benchmarks.md).",
            "",
            *table,
            "",
            *details,
        ]
    )


def main() -> int:
    from .room import Room

    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description="Write docs/design/plans.md.")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    with Room() as room:
        world = opened(room, LARGE if args.large else SMALL if args.small else USUAL)
        PAGE.write_text(page(world, room.conninfo(world.database)).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
