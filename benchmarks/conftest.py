"""One embedded server for the benchmarks of `make bench`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import data
from mailgenius.pool import Pool
from mailgenius.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailgenius.servers import PostgresServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres(tmp_path_factory.mktemp("server") / "postgres") as running:
        yield running


@pytest.fixture(scope="session")
def pool(server: PostgresServer) -> Iterator[Pool]:
    from mailgenius.leads import migrate

    with Pool(server.dsn) as made:
        migrate(made)
        yield made


@pytest.fixture(scope="session")
def leads_file() -> data.Dataset:
    return data.dataset(100_000)


@pytest.fixture(scope="session")
def bars() -> dict[str, float]:
    """The documented targets by id, in seconds."""
    targets = tomllib.loads(Path(__file__).with_name("targets.toml").read_text(encoding="utf-8"))["target"]
    return {t["id"]: t["at_most"] for t in targets if t["kind"] == "documented"}
