"""The page of benchmarks shows what was measured, and what falls short as plainly as what does not."""

from __future__ import annotations

from benchmarks import report
from benchmarks.results import Figure, Results, calls
from benchmarks.room import Outcome
from benchmarks.scenarios import pool


def figures(**values: float) -> dict[str, Figure]:
    return {name.replace("__", "/").replace("_", " "): Figure(value, "s", [value]) for name, value in values.items()}


def test_targets_are_complete() -> None:
    targets = report.targets()
    assert len({t.id for t in targets}) == len(targets)
    for target in targets:
        assert target.kind in report.KINDS
        assert (target.at_most is None) != (target.at_least is None)
        assert (target.unit == "x") <= bool(target.rivals)


def test_ratio_absolute_and_sum_are_judged() -> None:
    found = figures(a__ours=2.0, a__rival=4.0, a__sort=1.0)
    made = {"id": "t", "kind": "import", "what": "w", "ours": "a/ours"}
    ratio = report.judge(report.Target(**made, unit="x", rival="a/rival", at_most=0.5), found)
    assert (ratio.value, ratio.met) == (0.5, True)
    alone = report.judge(report.Target(**made, unit="s", at_most=1.9), found)
    assert (alone.value, alone.met) == (2.0, False)
    faster = report.judge(report.Target(**made, unit="x", rival="a/rival", at_least=0.6), found)
    assert faster.met is False
    # at most 10 % of one figure plus another: 0.1 x 4 + 1
    added = report.judge(report.Target(**made, unit="s", rival="a/rival", plus="a/sort", at_most=0.1), found)
    assert (added.bar, added.met) == (1.4, False)
    absent = report.judge(report.Target(**made, unit="x", rival="a/nobody", at_most=1.0), found)
    assert absent.met is None


def test_of_several_rivals_the_best_that_was_measured_counts() -> None:
    found = figures(a__ours=3.0, a__slow=2.0, a__fast=4.0)
    made = {"id": "t", "kind": "pool", "what": "w", "ours": "a/ours", "unit": "x"}
    names = ("a/slow", "a/nobody", "a/fast")
    speed = report.judge(report.Target(**made, rival=names, at_least=0.8), found)
    assert (speed.rival, speed.value, speed.met) == (found["a/fast"], 0.75, False)
    time = report.judge(report.Target(**made, rival=names, at_most=1.5), found)
    assert (time.rival, time.value, time.met) == (found["a/slow"], 1.5, True)
    absent = report.judge(report.Target(**made, rival=("a/nobody",), at_least=1.0), found)
    assert absent.met is None


def test_page_says_what_is_met_missed_and_not_measured() -> None:
    page = report.page(Results(figures=figures(small__mailgenius=1.2, small__psql_text=2.4)))
    assert "| 100K raw rows into an empty workspace | 1.20 s | – | – | ≤ 1.00 s | **not met** |" in page
    assert "1.20 s | 2.40 s | 0.50 | ≤ 0.7 × | met |" in page
    assert "not measured" in page


def test_pool_targets_name_figures_that_the_scenario_measures() -> None:
    ways = [way.name for way in [*pool.OURS, *pool.RIVALS, pool.PGBENCH]]
    measured = {calls("pool", q, callers, way) for q in pool.QUESTIONS for callers in pool.CALLERS for way in ways}
    named = {name for t in report.targets() if t.kind == "pool" for name in (t.ours, *t.rivals)}
    assert named
    assert named <= measured


def test_chapter_of_the_pool_ranks_ways_and_says_what_was_left_out() -> None:
    found = Results(skipped={"pool": {"pgbench": "the server came without it"}})
    for way, count in (("psycopg_pool async", 10_000), ("asyncpg", 30_000)):
        run = Outcome(seconds=2.0, calls=count, p50=0.002, p99=0.004, others=0.25)
        found.put_calls(calls("pool", "select 1", 100, way), [run], note="a note", command="again")
    page = report.page(found)
    assert (
        "AsyncPool.fetch of `select 1`, 100 callers, against psycopg_pool async (answers a second) | – | 5,000 /s"
        in page
    )
    table = page.partition("### Pool: select 1, 100 callers\n")[2].splitlines()
    assert table[3:5] == [
        "| asyncpg | 15,000 | 15,000 | 2.000 | 4.000 | a note |",
        "| psycopg_pool async | 5,000 | 5,000 | 2.000 | 4.000 | a note |",
    ]
    assert "Not measured: pgbench (the server came without it)." in page
    assert page.count("15,000") == 2  # in no other table
    assert "Again with `again`" in page
    assert "others took up to 25%" in page


def test_a_scenario_measured_anew_forgets_its_figures_only() -> None:
    found = Results(figures=figures(pool__a=1.0, full__b=2.0), skipped={"pool": {"c": "why"}})
    found.forget("pool")
    assert list(found.figures) == ["full/b"]
    assert found.skipped == {}
