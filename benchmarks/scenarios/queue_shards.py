"""The same jobs as in queue_work on a Cluster of three masters on this machine: in one shard, whose master does all the
work, and in three. Where workers and masters have the same few cores, the rate cannot grow with the shards; what the
busiest master had to do for a job is what bounds it where they have their own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import queues
from benchmarks.peers.queues import OURS
from mailgenius.servers import ClusterNode, ValkeyCluster, valkey_cluster

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

SCENARIO = "queue_shards"
SHARDS = (1, 3)
PROCESSES = (1, 2)


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget(SCENARIO)
    found: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        valkey_cluster(3, 0, settings={"requirepass": ""}) as cluster,
    ):
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster.nodes)
        url = f"redis+cluster://{hosts}"
        for turn in range(options.runs):
            for processes in PROCESSES:
                for shards in SHARDS:
                    rate, busiest, all = _run(cluster, url, shards, Path(folder), queues.jobs(OURS, options), processes)
                    name = f"{shards} shard{'s' * (shards > 1)}, {processes} process{'es' * (processes > 1)}"
                    found.setdefault(f"{name}/s", []).append(rate)
                    found.setdefault(f"{name}: busiest master", []).append(busiest)
                    found.setdefault(f"{name}: all masters", []).append(all)
            options.say(f"{SCENARIO}: turn {turn + 1} of {options.runs}")
    command = options.command(SCENARIO)
    for name, values in found.items():
        what, rate, _ = name.partition("/s")
        results.put(f"{SCENARIO}/{what}", values, "/s" if rate else "µs", command=command)


def _run(
    cluster: ValkeyCluster, url: str, shards: int, folder: Path, jobs: int, processes: int
) -> tuple[float, float, float]:
    """Jobs a second; microseconds a job of the master that had most to do, and of all masters, adding included."""
    file = folder / "records"
    for old in (file, Path(f"{file}.log")):
        old.unlink(missing_ok=True)
    for node in cluster.masters():
        node.ask("FLUSHALL", "SYNC")
    before = [_cpu(node) for node in cluster.masters()]
    there = f"{url}#{shards}"
    queues.add(OURS, there, "many", jobs)
    records = queues.Records(file)
    with queues.workers(OURS, there, file, processes):
        records.wait(jobs)
        used = [_cpu(node) - cpu for node, cpu in zip(cluster.masters(), before, strict=True)]
    records.read()
    if (handled := records.distinct()) != jobs:
        raise RuntimeError(f"{jobs:,} jobs were added, {handled:,} of them handled")
    return records.rate(jobs), max(used) / jobs * 1e6, sum(used) / jobs * 1e6


def _cpu(node: ClusterNode) -> float:
    """Seconds of the processor that a server has used."""
    text = str(node.ask("INFO", "cpu"))
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return float(found["used_cpu_sys"]) + float(found["used_cpu_user"])
