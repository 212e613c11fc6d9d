"""The page of benchmarks shows what was measured, and what falls short as plainly as what does not."""

from __future__ import annotations

from benchmarks import report
from benchmarks.results import Figure, Results


def figures(**values: float) -> dict[str, Figure]:
    return {name.replace("__", "/").replace("_", " "): Figure(value, "s", [value]) for name, value in values.items()}


def test_targets_are_complete() -> None:
    targets = report.targets()
    assert len({t.id for t in targets}) == len(targets)
    for target in targets:
        assert target.kind in report.KINDS
        assert (target.at_most is None) != (target.at_least is None)
        assert (target.unit == "x") <= bool(target.rival)


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


def test_page_says_what_is_met_missed_and_not_measured() -> None:
    page = report.page(Results(figures=figures(small__mailgenius=1.2, small__psql_text=2.4)))
    assert "| 100K raw rows into an empty workspace | 1.20 s | – | – | ≤ 1.00 s | **not met** |" in page
    assert "1.20 s | 2.40 s | 0.50 | ≤ 0.7 × | met |" in page
    assert "not measured" in page
