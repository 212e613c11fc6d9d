"""Random input for every harness of tools/fuzz: a minute for all in CI, else a second each (see `make fuzz`)."""

from __future__ import annotations

import os

import pytest

from tools.fuzz.build import build, compiler, names
from tools.fuzz.run import run

pytestmark = pytest.mark.fuzz
SECONDS = 60 / len(names()) if os.environ.get("CI") else 1.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", names())
def test_harness(name: str) -> None:
    if compiler() is None:
        pytest.skip("no C compiler with AddressSanitizer")
    said = run(name, build([name])[name], SECONDS, seed=20261)
    assert int(said.split()[0]) > 0
