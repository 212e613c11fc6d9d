"""`make bench`: the documented targets, asserted. The bars stand in targets.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import data
from benchmarks.room import WORKSPACE
from benchmarks.scenarios import queue_mail
from benchmarks.scenarios.query import questions
from mailgenius.importer import Importer
from mailgenius.leads import Leads

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from mailgenius.importer import ImportReport
    from mailgenius.pool import Pool


@pytest.fixture(scope="session")
def filled(pool: Pool, leads_file: data.Dataset) -> Leads:
    """A workspace of 100,000 leads."""
    Importer(pool).run(leads_file.raw, workspace=WORKSPACE)
    return Leads(pool)


def test_import_of_100k_leads(
    benchmark: BenchmarkFixture, pool: Pool, leads_file: data.Dataset, bars: dict[str, float]
) -> None:
    turn = iter(range(1000))

    def run() -> ImportReport:
        return Importer(pool).run(leads_file.raw, workspace=f"import-{next(turn)}")

    report = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    assert data.differences(report, leads_file.facts) == []
    assert benchmark.stats.stats.median <= bars["import-100k"]


@pytest.mark.parametrize(
    ("target", "name"), [("lead-by-email", "lead by e-mail"), ("lead-count", "count"), ("lead-page", "page")]
)
def test_queries(
    benchmark: BenchmarkFixture, filled: Leads, leads_file: data.Dataset, bars: dict[str, float], target: str, name: str
) -> None:
    emails = data.sample_emails(leads_file.clean, 500, leads_file.facts.accepted)
    ask = questions(filled, emails, leads_file.facts.inserted)[name]
    assert benchmark.pedantic(ask, rounds=100, warmup_rounds=1)
    assert benchmark.stats.stats.max <= bars[target]


def test_10_000_emails(benchmark: BenchmarkFixture, bars: dict[str, float]) -> None:
    took: list[float] = []
    benchmark.pedantic(lambda: took.append(queue_mail.seconds()), rounds=3, warmup_rounds=1)
    benchmark.extra_info["e-mails an hour"] = round(3600 * queue_mail.EMAILS / sorted(took)[len(took) // 2])
    assert max(took) <= bars["queue-emails"]
