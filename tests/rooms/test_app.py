"""The public names of mailgenius; what they open: test_app_async.py and its twin."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

import mailgenius
from mailgenius.rt import aio as rt


def test_public_names():
    assert set(mailgenius.__all__) <= set(dir(mailgenius))
    for name in mailgenius.__all__:
        assert getattr(mailgenius, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mailgenius.nothing  # noqa: B018


def test_import_is_light():
    heavy = "('psycopg', 'numpy', 'msgspec', 'asyncio')"
    code = f"import sys; import mailgenius; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_cancelled_caller_waits_for_what_runs_in_a_thread():
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        go_on.wait(30)
        ended.append(1)

    task = asyncio.create_task(rt.blocking(slow))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1]
