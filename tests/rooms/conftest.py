"""Data folders of servers that the tests start themselves."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from mailgenius.servers import postgres

from .processes import User, nobody, python_for_all


@pytest.fixture(scope="session")
def made(fast_path):
    """A data folder with a cluster, its server stopped."""
    with postgres(fast_path / "made"):
        pass
    return fast_path / "made"


@pytest.fixture
def place(fast_path):
    with tempfile.TemporaryDirectory(dir=fast_path, ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def folder(made, place):
    """A copy of it: making a cluster takes most of the time of a test that is about something else."""
    subprocess.run(["cp", "-a", made, place / "data"], check=True)
    return place / "data"


@pytest.fixture
def new_folder(place):
    return place / "data"


@pytest.fixture(scope="session")
def as_nobody():
    """Opens a folder as an ordinary user."""
    with python_for_all() as python:
        if python is None:
            pytest.skip("needs root, and an interpreter that others can run")
        yield lambda folder, kind="postgres": User(folder, python, kind, **nobody())


@pytest.fixture
def public(fast_path):
    """A folder that an ordinary user may reach and write: those of the other tests are root's alone."""
    with tempfile.TemporaryDirectory(prefix="mg-test-", dir=fast_path.parent) as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    mounted = tmp_path / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", mounted], check=False).returncode != 0:
        pytest.skip("may not mount")
    yield mounted
    subprocess.run(["umount", "-l", mounted], check=True)
