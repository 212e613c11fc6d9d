"""What bench-leads is made of: sizes that add up, questions that agree with their plain SQL, a page that shows the bars."""

from __future__ import annotations

import asyncio
import time

from benchmarks import report, world
from benchmarks.questions import Ask
from benchmarks.results import Figure, Results
from benchmarks.scenarios import queries, users


def test_sizes_and_shares_add_up() -> None:
    for size in (world.SMALL, world.USUAL, world.LARGE):
        leads, campaigns = world.shares(size)
        assert sum(leads) == size.leads
        assert leads[0] == max(leads) == size.leads * 0.6
        assert (len(leads), len(campaigns)) == (20, 50)
        assert sum(place == 0 for place, _ in campaigns) == 30
        assert all(0 < share <= 0.95 for _, share in campaigns)
        assert abs(sum(leads[place] * share for place, share in campaigns) - size.sends) < size.sends * 0.001


def test_every_group_has_a_bar() -> None:
    bars = {t.ours for t in report.targets() if t.kind == "leads"}
    for scenario in ("queries", "queries 10m"):
        unbarred = {g for g in queries.GROUPS if f"{scenario}/worst; {g}" not in bars}
        assert unbarred == {
            "statistics",
            "attributes that are not indexed",
            "other orders",
            "writes",
        }  # held to what anything may take
        assert f"{scenario}/worst; {queries.ANYTHING}" in bars
    for scenario in ("users", "users 10m"):
        assert f"{scenario}/1,000 a second; worst p99 of all but ad-hoc counts" in bars


def test_page_of_questions() -> None:
    found = {
        "queries/get": Figure(1.5, "ms", [1.5], note="lookups"),
        "queries/get; p50": Figure(0.5, "ms"),
        "queries/get; max": Figure(9.0, "ms"),
        "queries/get; calls": Figure(1000, ""),
        "queries/page by city": Figure(600.0, "ms", [600.0], note="other orders"),
        "queries/page by city; p50": Figure(90.0, "ms"),
        "queries/page by city; max": Figure(700.0, "ms"),
        "queries/page by city; calls": Figure(100, ""),
        "queries/worst; lookups": Figure(1.5, "ms"),
        "queries/worst; anything": Figure(700.0, "ms"),
    }
    page = report.page(Results(figures=found, texts={"queries": ["All there is."]}))
    assert "| get | 0.50 | 1.50 | 9.00 | 1,000 | ≤ 5 | met |" in page
    assert "| page by city | 90.00 | 600.00 | 700.00 | 100 | ≤ 500 | **not met** |" in page
    assert "All there is." in page


def test_latency_counts_from_when_a_question_was_due() -> None:
    """Questions that wait behind a slow one are late, and those that were never asked count as well."""

    class Slow:
        async def get(self, seconds: float) -> None:
            answered = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(seconds, answered.set_result, None)
            await answered

    asks = [(0.0, "lookups", Ask("get", (0.2,))), (0.01, "lookups", Ask("get", (0.0,)))]
    stuck = [(0.0, "pages", Ask("get", (60.0,))), (0.1, "pages", Ask("get", (0.0,)))]
    began = time.perf_counter()
    found = asyncio.run(users.load(Slow(), [asks, stuck], 0.2))  # type: ignore[arg-type]
    assert time.perf_counter() - began < 5
    assert min(found.took["lookups"]) >= 0.18
    assert found.unanswered == len(found.took["pages"]) == 2
    assert min(found.took["pages"]) >= 0.4
    assert found.quantile(1.0, "pages") >= 0.5


def test_highest_rate_is_narrowed_down() -> None:
    async def run(rate: float) -> users.Load:
        return users.Load(1, 0, {"lookups": [0.001 if rate <= 730 else 1.0]})

    rate, p95 = asyncio.run(users.highest(run, lambda _text: None))
    assert 730 / users.STEP <= rate <= 730
    assert p95 == 0.001
