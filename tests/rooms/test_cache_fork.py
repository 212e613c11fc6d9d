"""A cache after a fork: the child is told of changes on a connection of its own, and waits for nobody's load."""

from __future__ import annotations

import os
import traceback

from mailgenius import Cache
from mailgenius.servers import ValkeyServer
from tests.waiting_sync import coherent, until


def test_a_child_is_told_of_changes(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, budget=5) as cache:
        region = cache.region("lead")
        region.set("a", "old")
        coherent(cache)
        until(lambda: region.get("a") == "old" and region.peek("a") == "old")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert region.peek("a") is None  # nobody would have told us
                coherent(cache)
                until(lambda: region.get("a") == "old" and region.peek("a") == "old")
                redis_server.ask("SET", "ready", "x")
                until(lambda: region.peek("a") is None)
                assert region.get("a") == "new"
                assert region.get_or_load("b", lambda key: "loaded") == "loaded"
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        until(lambda: redis_server.ask("EXISTS", "ready") == 1)
        region.set("a", "new")
        ended: list[tuple[int, int]] = []
        until(lambda: bool(ended.append(os.waitpid(child, os.WNOHANG)) or ended[-1][0]), 20)
        assert os.waitstatus_to_exitcode(ended[-1][1]) == 0
        until(lambda: region.get("a") == "new" and region.peek("a") == "new")
