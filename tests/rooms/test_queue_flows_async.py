"""Jobs that wait for others."""

from __future__ import annotations

import pytest

from mailgenius.errors import ConfigError, JobFailed, QueueFull
from mailgenius.link import AsyncRedis
from mailgenius.queue import AsyncQueue, Flow, Policy, Step
from mailgenius.queue.step import steps, unfolded
from mailgenius.servers import ValkeyServer
from tests.queue_hand_async import Hand


async def state(queue: AsyncQueue, id: str) -> str:
    job = await queue.show(id)
    return job.state if job is not None else ""


async def left(redis: AsyncRedis) -> list[str]:
    """Keys of flows that are still there."""
    names = ("parent_of", "flow_left", "flow_failed", "flow_strict", "parents", "jobs")
    return [name for name in names if await redis.call("EXISTS", "mg:{q}:" + name)]


async def test_a_parent_runs_when_its_children_have_ended(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        flow = await queue.flow(
            ("report", "all"), [("send", 1), ("merge", 2, [("read", 3), Step("read", 4, priority=1)]), ("send", 5)]
        )
        assert [len(child.children) for child in flow.children] == [0, 2, 0]
        assert (await queue.counts()).blocked == 2
        shown = await queue.show(flow.id)
        assert shown is not None
        assert (shown.state, shown.children_left, shown.payload) == ("blocked", 3, "all")
        assert [job.id for job in (await queue.page("blocked")).jobs] == [flow.id, flow.children[1].id]
        assert await hand.all() == [4, 1, 3, 5, 2, "all"]
        assert (await queue.counts()).total.done == 6
        assert await left(redis) == []


async def test_a_parent_knows_how_many_children_failed(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        flow = await queue.flow(("report", None), [("send", n) for n in range(4)])
        jobs = await hand.lease()
        await hand.failed(jobs[0])
        await queue.remove([jobs[1].id])
        await hand.done(*jobs[2:])
        assert await state(queue, flow.id) == "blocked"
        await hand.failed(jobs[1])  # its worker has heard
        shown = await queue.show(flow.id)
        assert shown is not None
        assert (shown.state, shown.children_failed) == ("waiting", 2)
        (report,) = await hand.lease()
        await hand.failed(report)
        assert await queue.retry([flow.id]) == 1
        shown = await queue.show(flow.id)
        assert shown is not None
        assert shown.children_failed == 2  # it is asked once more
        assert await hand.all() == [None]
        await queue.clean("failed")
        assert await left(redis) == []


async def test_a_parent_may_fail_with_its_children_up_to_the_root(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        middle = Step("merge", 1, [("read", 2), ("read", 3)], on_failure="fail")
        flow = await queue.flow(Step("report", 0, on_failure="fail"), [middle, ("send", 4)])
        jobs = await hand.lease()
        await hand.failed(jobs[0])
        await hand.done(*jobs[1:])
        assert [await state(queue, id) for id in (flow.id, flow.children[0].id)] == ["failed", "failed"]
        with pytest.raises(JobFailed, match="ChildrenFailed: 1 of its children failed"):
            await queue.result(flow.id)
        counts = await queue.counts()
        assert (counts.total.failed, counts.total.done, counts.blocked) == (3, 2, 0)
        good = await queue.flow(Step("report", 9, on_failure="fail"), [("send", 8)])
        assert await hand.all() == [8, 9]
        assert await state(queue, good.id) == "done"


async def test_a_removed_parent_lets_its_children_be(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        flow = await queue.flow(Step("report", 0, on_failure="fail"), [("send", 1), ("send", 2)])
        assert await queue.remove([flow.id]) == {flow.id: "blocked"}
        assert await hand.all() == [1, 2]
        assert await left(redis) == []
        # Children that are drained end too, and their parent waits in the lane that is being emptied.
        flow = await queue.flow(("report", 0), [("send", 1), ("send", 2)])
        assert await queue.drain() == 2
        assert await hand.all() == [0]
        assert await left(redis) == []


async def test_large_flows_take_several_calls(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        tree = [("merge", -n, [("read", 10 * n + i) for i in range(9)]) for n in range(1, 80)]
        flow = await queue.flow(("report", 0), tree, batch="b")
        assert await queue.flow(("report", 0), tree, batch="b") == flow  # nothing twice
        counts = await queue.counts()
        assert (counts.waiting, counts.blocked) == (79 * 9, 80)
        done = await hand.all()
        assert done[-1] == 0
        assert len(done) == 1 + 79 + 79 * 9
        assert {child.id for child in flow.children[0].children} & {flow.id} == set()
        assert await left(redis) == []


async def test_a_batch_with_a_job_that_comes_then(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        added = await queue.add_many("send", range(450), then=("sum up", "then"), group="g")
        assert len(added) == 450
        shown = await queue.show(added.then)
        assert shown is not None
        assert (shown.state, shown.children_left) == ("blocked", 450)
        last = await queue.show(added[449])
        assert last is not None
        assert (last.payload, last.group) == (449, "g")
        assert await hand.all() == [*range(450), "then"]
        assert await left(redis) == []
        await queue.add_many("send", [], then=("sum up", "at once"))
        assert await hand.all() == ["at once"]


async def test_a_full_queue_takes_no_part_of_a_flow(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis:
        queue = AsyncQueue(redis, "q", unsafe=True, policy=Policy(max_waiting=400))
        with pytest.raises(QueueFull):
            await queue.flow(("a", 0), [("b", n) for n in range(500)])
        assert (await queue.counts()).total.added == 0
        assert isinstance(await queue.flow(("a", 0), [("b", n) for n in range(300)]), Flow)
        with pytest.raises(QueueFull):
            await queue.add_many("b", range(250), then=("a", 0))
        assert (await queue.counts()).total.added == 301


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'a' is no step; give \(name, payload\)"):
        steps("a")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match='on_failure: \'stop\' is neither "run" nor "fail"'):
        steps(Step("a", on_failure="stop"))  # type: ignore[arg-type]
    deep = Step("0")
    for n in range(1, 5000):
        deep = Step(str(n), children=[deep])
    assert [(step.name, above) for step, above, _ in unfolded(deep)][:2] == [("4999", -1), ("4998", 0)]
