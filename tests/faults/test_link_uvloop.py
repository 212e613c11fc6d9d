"""The client on uvloop, whose transports and timers are its own: what is tested on asyncio's loop, once more."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mailgenius.servers import ValkeyServer
from tests.faults import test_link_faults_async as faults
from tests.faults import test_link_streams_async as streams
from tests.faults.proxy import FaultProxy
from tests.faults.test_link_faults_async import own_server, proxy
from tests.rooms import test_link as callers
from tests.rooms import test_link_async as calls

__all__ = ["own_server", "proxy"]  # fixtures
uvloop = pytest.importorskip("uvloop")
Test = Callable[[Any], Coroutine[Any, Any, None]]


@pytest.mark.parametrize(
    "test",
    [
        callers.test_many_tasks_get_their_own_replies,
        callers.test_too_many_requests_are_refused,
        calls.test_refusals_have_a_code,
        calls.test_batches,
        calls.test_transactions,
        calls.test_a_closed_client_says_so,
    ],
)
def test_calls(test: Test, redis_server: ValkeyServer) -> None:
    uvloop.run(test(redis_server))


@pytest.mark.parametrize(
    "test",
    [
        pytest.param(faults.test_a_frozen_server_costs_one_timeout, marks=pytest.mark.alone),
        pytest.param(faults.test_a_frozen_server_at_the_first_call, marks=pytest.mark.alone),
        faults.test_a_server_that_is_not_there,
        faults.test_late_replies_reach_nobody_else,
        faults.test_a_restart,
    ],
)
def test_faults_of_a_server(test: Test, own_server: ValkeyServer) -> None:
    uvloop.run(test(own_server))


@pytest.mark.parametrize(
    "test",
    [
        faults.test_a_cable_that_was_pulled,
        faults.test_reads_are_sent_anew_and_writes_are_not,
        faults.test_a_connection_closed_while_idle_is_no_fault,
        faults.test_a_connection_of_ones_own_says_that_it_is_lost,
        faults.test_blocking_calls_after_a_restart,
        streams.test_damaged_bytes_end_the_connection,
        streams.test_a_slow_way,
    ],
)
def test_faults_of_the_way(test: Test, proxy: FaultProxy) -> None:
    uvloop.run(test(proxy))
