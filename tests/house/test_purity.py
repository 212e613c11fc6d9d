"""A module decides or it acts. All modules of a room are pure (values in, values out) but the ones listed here."""

import ast
from pathlib import Path

import pytest

from tests.house import tree

# room/module: what it touches. Every other module below src/mailgenius is pure, and a new one is until it is listed.
SHELLS: dict[str, str] = {
    "cli/main": "the process: environment, standard output",
    "cli/terminal": "standard output and error",
    "cli/queue_top": "standard output, the clock",
    "cli/working": "the current folder",
    "importer/origin": "files and pipes",
    "importer/rejects": "a file it writes",
    "importer/duplicates": "a file it writes",
    "importer/blocks": "a temporary file",
    "importer/read": "threads that read the source",
    "importer/load": "the database",
    "importer/ledger": "the database",
    "importer/statements": "query files",
    "importer/undo": "the database",
    "importer/job": "the clock, and all of the above",
    "importer/run": "paths",
    "importer/aio": "threads, connections",
    "cache/aio": "tasks",
    "cache/_async": "the clock",
    "cache/_sync": "the clock",
    "cache/batches_async": "the clock",
    "cache/batches_sync": "the clock",
    "cache/django/backend": "connections, threads",
    "cache/django/store": "connections, locks",
    "cache/keeper_async": "connections, tasks",
    "cache/keeper_sync": "connections, threads",
    "cache/loading_async": "the clock, tasks",
    "cache/loading_sync": "the clock, threads",
    "cache/server_async": "connections, the clock",
    "cache/server_sync": "connections, the clock",
    "cache/behind_async": "connections, the clock, files of scripts",
    "cache/behind_sync": "connections, the clock, files of scripts",
    "cache/behind_flusher_async": "connections, the clock, files of scripts",
    "cache/behind_flusher_sync": "connections, the clock, files of scripts",
    "cache/behind_postgres_async": "the database",
    "cache/behind_postgres_sync": "the database",
    "cache/threads": "threads, the clock",
    "address/files": "files: lists of domains and roles",
    "config": "the environment and mailgenius.toml",
    "link/_async": "connections, the clock",
    "link/_sync": "connections, the clock",
    "link/aio": "connections shared by tasks",
    "link/threads": "connections shared by threads",
    "link/dedicated_async": "connections, the clock",
    "link/dedicated_sync": "connections, the clock",
    "link/node_async": "connections, the clock, tasks",
    "link/node_sync": "connections, the clock, threads",
    "link/calls_async": "connections, the clock",
    "link/calls_sync": "connections, the clock",
    "link/cluster_async": "connections, the clock, tasks",
    "link/cluster_sync": "connections, the clock, threads",
    "link/durable_async": "connections, the clock",
    "link/durable_sync": "connections, the clock",
    "link/effort_async": "the clock, tasks",
    "link/effort_sync": "the clock, threads",
    "link/jobs_async": "connections, the clock",
    "link/jobs_sync": "connections, the clock",
    "link/sentinel_async": "connections, tasks",
    "link/sentinel_sync": "connections, threads",
    "link/single_async": "connections",
    "link/single_sync": "connections",
    "link/scripts_async": "files of scripts",
    "link/scripts_sync": "files of scripts",
    "link/tcp": "sockets, files of certificates",
    "queue/outbox_async": "the database, the clock",
    "queue/outbox_sync": "the database, the clock",
    "queue/events_async": "connections, the clock",
    "queue/events_sync": "connections, the clock",
    "queue/sending_async": "connections, the clock",
    "queue/sending_sync": "connections, the clock",
    "queue/results_async": "connections, the clock, tasks",
    "queue/results_sync": "connections, the clock, threads",
    "queue/sharded/adding_async": "connections, the clock",
    "queue/sharded/adding_sync": "connections, the clock",
    "queue/sharded/base_async": "connections, the clock",
    "queue/sharded/base_sync": "connections, the clock",
    "queue/sharded/following_async": "connections, the clock, tasks",
    "queue/sharded/following_sync": "connections, the clock, threads",
    "queue/scripts": "files of scripts",
    "pool/_async": "connections",
    "pool/_sync": "connections",
    "pool/aio": "connections shared by tasks",
    "pool/connections_async": "connections, the clock",
    "pool/connections_sync": "connections, the clock",
    "pool/conninfo": "connection strings, by the driver's own parser",
    "pool/deadlines_async": "the clock, connections",
    "pool/deadlines_sync": "the clock, connections",
    "pool/replicas_async": "connections, the clock, tasks",
    "pool/replicas_sync": "connections, the clock, threads",
    "pool/poolers_async": "connections",
    "pool/poolers_sync": "connections",
    "pool/explaining_async": "connections",
    "pool/explaining_sync": "connections",
    "pool/meters": "the clock",
    "pool/tracked_async": "connections, the clock",
    "pool/tracked_sync": "connections, the clock",
    "pool/threads": "connections",
    "rt/aio": "tasks",
    "testing": "event loops, servers",
    "worker/child": "processes, sockets, threads",
    "worker/limits": "what the operating system says",
    "worker/notify": "a socket",
    "worker/process": "processes, sockets, the clock",
    "worker/supervisor": "processes, signals, sockets, the clock",
    "worker/watch": "files",
    "rt/threads": "threads",
    "leads/workspaces_async": "the database, the clock",
    "leads/workspaces_sync": "the database, the clock",
    "leads/reading_async": "the database, the clock",
    "leads/reading_sync": "the database, the clock",
    "leads/writing_async": "the database",
    "leads/writing_sync": "the database",
    "leads/attributes_async": "the database",
    "leads/attributes_sync": "the database",
    "leads/campaigns_async": "the database",
    "leads/campaigns_sync": "the database",
    "leads/merging_async": "the database",
    "leads/merging_sync": "the database",
    "leads/exporting_async": "the database, files",
    "leads/exporting_sync": "the database, files",
    "leads/sink": "files",
    "leads/orders": "the database, threads",
    "leads/schema": "the database, migration files",
    "leads/sql/__init__": "query files",
    "servers/_binaries": "files and programs",
    "servers/_cluster": "files and programs",
    "servers/_folder": "files and locks",
    "servers/_keeper": "processes and locks",
    "servers/_postgres": "processes, connections",
    "servers/_postgres_folder": "files",
    "servers/_programs": "files and programs",
    "servers/_resp": "connections",
    "servers/_server": "processes, locks, the clock",
    "servers/_sockets": "files, ports",
    "servers/_spawn": "processes",
    "servers/_system": "what the operating system says",
    "servers/_valkey": "processes, locks, connections",
    "servers/_valkey_cluster": "connections",
    "servers/_valkey_folder": "files",
    "servers/_valkey_sentinel": "files, connections",
    "servers/_valkey_group": "processes, threads, files",
    "worker/bulk": "tasks, connections",
    "worker/keeper": "the process, shared memory, connections, the clock",
    "worker/keeping": "processes, shared memory, tasks",
    "worker/loop_runner": "tasks, the clock",
    "worker/process_runner": "processes, the clock",
    "worker/running": "connections, tasks, the clock",
    "worker/shard": "connections, tasks, the clock",
    "worker/thread_runner": "threads, the clock",
    "worker/worker": "tasks, signals",
    "app/_async": "everything",
    "app/_sync": "everything",
    "app/starting": "an embedded server, the database",
}

# What a pure module may not import: waiting, clocks, processes, files, networks, drivers.
IMPURE = {
    "asyncio", "concurrent", "fcntl", "http.client", "http.server", "multiprocessing", "os", "psycopg", "psycopg_pool",
    "queue", "redis", "select", "selectors", "shutil", "signal", "socket", "socketserver", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib.request",
}  # fmt: skip
# What it may not call by these names.
CALLS = {"open", "print", "input", "exec", "eval"}
# Clocks hidden in types: datetime.now(), date.today(), Path.cwd() and the like.
CLOCKS = {"now", "utcnow", "today", "cwd", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir"}


def offences(path: Path) -> list[str]:
    found = []
    for line, target in tree.imports(path, types_too=False):
        if any(target == impure or target.startswith(impure + ".") for impure in IMPURE):
            found.append(f"{tree.name(path)}:{line} is pure, but imports {target}")
    for node in ast.walk(tree.parse(path)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id in CALLS:
            found.append(f"{tree.name(path)}:{node.lineno} is pure, but calls {called.id}()")
        if isinstance(called, ast.Attribute) and called.attr in CLOCKS:
            found.append(f"{tree.name(path)}:{node.lineno} is pure, but calls .{called.attr}()")
    return found


def key(path: Path) -> str:
    return path.relative_to(tree.PACKAGE).with_suffix("").as_posix()


def test_pure_modules_do_no_io() -> None:
    tree.report(
        [
            offence
            for path in tree.files("src/mailgenius", suffixes={".py"})
            if key(path) not in SHELLS
            for offence in offences(path)
        ]
    )


def test_the_list_of_shells_is_true() -> None:
    there = {key(path) for path in tree.files("src/mailgenius", suffixes={".py"})}
    tree.report([f"SHELLS names {shell}, which is not there" for shell in SHELLS if shell not in there])


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("import os", 1),
        ("from os import path", 1),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import psycopg", 0),
        ("def f():\n    import time", 1),
        ("from datetime import datetime\nx = datetime.now()", 1),
        ("open('x')", 1),
        ("import math", 0),
    ],
)
def test_the_rule_sees_io(code: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    monkeypatch.setattr(tree, "PACKAGE", tmp_path / "mailgenius")
    file = tmp_path / "mailgenius" / "leads" / "probe.py"
    file.parent.mkdir(parents=True)
    file.write_text(code)
    assert len(offences(file)) == count
