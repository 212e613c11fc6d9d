"""The embedded PostgreSQL: starting, sharing, stopping, whatever way its users end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from mailgenius import servers
from mailgenius.errors import ServerError
from mailgenius.servers import embedded_settings, postgres
from mailgenius.servers._binaries import MAJOR

from .processes import User, gone, keeper_of, run, value

# One user


def test_open_use_close(new_folder):
    with postgres(new_folder) as server:
        assert server.version.startswith(f"{MAJOR}.")
        assert value(server.dsn, "show server_version_num").startswith(str(MAJOR))
        assert value(server.dsn, "select current_database() || ' ' || current_user") == "mailgenius mailgenius"
        assert server.port is None
        pid, sockets = server.pid, server.socket_dir
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert gone(pid, 0)
    assert not sockets.exists()
    assert "closed" in repr(server)
    with pytest.raises(ServerError, match="not started"):
        server.dsn  # noqa: B018
    server.close()
    with postgres(new_folder) as server:
        assert server.pid != pid


def test_data_outlives_the_server_and_sorts_by_bytes(folder):
    with postgres(folder) as server:
        run(server.dsn, "create table t as select unnest(array['b', 'B', 'a', 'é', 'z']) s")
    with postgres(folder) as server:
        assert value(server.dsn, "select string_agg(s, '' order by s) from t") == "Babzé"
        assert value(server.dsn, "select upper('é')") == "É"
        assert value(server.dsn, "show server_encoding") == "UTF8"
        assert value(server.dsn, "show fsync") == "on"
        assert value(server.dsn, "show data_checksums") == "on"


def test_spaces_quotes_and_a_long_path(place):
    folder = place / 'it\'s a "folder", é' / ("x" * 100) / ("y" * 150)
    with postgres(folder) as server:
        assert value(server.dsn, "select 1") == 1
        assert len(str(server.socket_dir)) < 90


def test_an_awkward_temporary_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("t" * 120)))
    with postgres(folder) as server:
        assert value(server.dsn, "select 1") == 1


def test_secrets_stay_in_the_folder(folder):
    with postgres(folder) as server:
        password = (folder / "password").read_text().strip()
        assert password in server.dsn
        assert password not in repr(server)
        for process in (server.pid, keeper_of(server.pid)):
            assert password not in Path(f"/proc/{process}/cmdline").read_text()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.dsn, password="guess")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert not any(mode & 0o077 for mode in modes.values()), modes


def test_port(folder):
    with postgres(folder, port=0) as server:
        assert "host='127.0.0.1'" in server.dsn
        assert value(server.dsn, "select inet_server_port()") == server.port
        port = server.port
        with postgres(folder) as second:
            assert value(second.dsn, "select inet_server_port()") is None
        with pytest.raises(ServerError, match=f"on port {port}, not on 1025"):
            postgres(folder, port=1025)
    with postgres(folder, port=port) as server:
        assert server.port == port


def test_port_taken(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerError, match="port is taken"):
            postgres(folder, port=taken.getsockname()[1])
    with pytest.raises(ServerError, match="65536 is not between"):
        postgres(folder, port=65536)


def test_a_server_without_port_cannot_grow_one(folder):
    with postgres(folder), pytest.raises(ServerError, match="already runs, without a TCP port"):
        postgres(folder, port=0)


def test_settings(folder):
    with postgres(folder, settings={"work_mem": "7MB", "autovacuum": False, "application_name": "it's"}) as server:
        assert value(server.dsn, "show work_mem") == "7MB"
        assert value(server.dsn, "show autovacuum") == "off"
        with postgres(folder, settings={"work_mem": "7MB"}):
            pass
        with pytest.raises(ServerError, match="already runs with another work_mem"):
            postgres(folder, settings={"work_mem": "8MB"})
    with pytest.raises(ServerError, match=r"refuses a setting: .*no_such_thing"):
        postgres(folder, settings={"no_such_thing": 1})
    with pytest.raises(ServerError, match=r"refuses a setting: .*work_mem"):
        postgres(folder, settings={"work_mem": "much"})
    with postgres(folder) as server:
        assert value(server.dsn, "show work_mem") != "7MB"


@pytest.mark.parametrize("memory", [64 << 20, 1 << 30, 24 << 30, 1 << 40])
def test_settings_fit_any_memory(memory):
    settings = embedded_settings(memory, shm=64 << 20)
    assert settings["dynamic_shared_memory_type"] == "mmap"
    shared = int(settings["shared_buffers"].removesuffix("MB")) << 20
    assert 64 << 20 <= shared <= 2 << 30
    assert embedded_settings(memory)["fsync"] == "on"


def test_restart_and_kill_keep_the_connection_string(folder):
    with postgres(folder, port=0) as server:
        dsn, pid = server.dsn, server.pid
        run(dsn, "create table t as select 42 n")
        server.restart()
        assert (server.dsn, server.pid != pid) == (dsn, True)
        server.kill()
        assert not server.alive
        assert "down" in repr(server)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(dsn)
        server.restart()
        assert value(dsn, "select n from t") == 42
        server.restart("immediate")
        assert value(dsn, "select n from t") == 42
        with pytest.raises(ServerError, match="unknown mode"):
            server.restart("gently")
        sockets = server.socket_dir
        server.kill()
    assert not sockets.exists()
    assert not (folder / "server.json").exists()


def test_start_revives_a_killed_server(folder):
    with postgres(folder) as server:
        dsn = server.dsn
        server.kill()
        server.start()
        assert server.dsn == dsn
        assert value(dsn, "select 1") == 1


# Several users


def test_users_share_one_server_and_the_last_stops_it(folder):
    with postgres(folder) as mine, User(folder) as other:
        theirs = other.opened()
        assert theirs["pid"] == mine.pid
        assert theirs["dsn"] == mine.dsn
        pid = mine.pid
        mine.close()
        assert value(theirs["dsn"], "select 1") == 1
        other.close()
        assert gone(pid, 0)


def test_two_users_in_one_process(folder):
    with postgres(folder) as first:
        pid = first.pid
        with postgres(folder) as second:
            assert second.pid == pid
        assert first.alive
    assert gone(pid, 0)


def test_many_start_a_new_folder_at_once(new_folder):
    users = [User(new_folder) for _ in range(4)]
    pids = {user.opened()["pid"] for user in users}
    assert len(pids) == 1
    for user in users[1:]:
        user.__exit__()
    users[0].close()
    users[0].__exit__()
    assert gone(pids.pop(), 0)


def test_killed_owner_leaves_the_server_to_the_others(folder):
    with User(folder) as owner:
        pid = owner.opened()["pid"]
        with postgres(folder) as server:
            assert server.pid == pid
            owner.process.kill()
            owner.process.wait()
            assert value(server.dsn, "select 1") == 1
    assert gone(pid, 0)


def test_killed_last_user_takes_the_server_with_it(folder):
    with User(folder) as owner:
        pid = owner.opened()["pid"]
        owner.process.kill()
        owner.process.wait()
        assert gone(pid)
    with postgres(folder) as server:
        assert value(server.dsn, "select 1") == 1


def test_leaving_without_close(folder):
    with User(folder) as owner:
        pid = owner.opened()["pid"]
        owner.process.stdin.close()
        assert owner.process.wait(20) == 0
        assert gone(pid)


def test_interrupt_from_the_terminal_does_not_reach_the_server(folder):
    with User(folder, start_new_session=True) as owner, postgres(folder) as server:
        owner.opened()
        while owner.process.poll() is None:  # Python misses a signal that comes just before it blocks in read()
            os.killpg(owner.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                owner.process.wait(0.5)
        assert value(server.dsn, "select 1") == 1


def test_killed_keeper_is_replaced(folder):
    with postgres(folder) as server:
        pid = server.pid
        os.kill(keeper_of(pid), signal.SIGKILL)
        with User(folder) as other:
            assert other.opened()["pid"] == pid
            server.close()
            other.process.kill()
            other.process.wait()
            assert gone(pid)


def test_last_user_stops_a_server_without_keeper(folder):
    with postgres(folder) as server:
        pid, keeper = server.pid, keeper_of(server.pid)
        os.kill(keeper, signal.SIGKILL)
        assert gone(keeper)
    assert gone(pid, 0)


def test_forked_child_does_not_stop_it(folder):
    code = """
import os, sys, psycopg
from mailgenius.servers import postgres
with postgres(sys.argv[1]) as server:
    if (child := os.fork()) == 0:
        server.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    psycopg.connect(server.dsn).close()
    if (child := os.fork()) == 0:
        server.start()  # a child that goes on using it becomes a user of its own
        psycopg.connect(server.dsn).close()
        server.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    psycopg.connect(server.dsn).close()
"""
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)


def test_a_forked_child_that_lives_on_does_not_hold_it(folder):
    code = """
import os, sys
from mailgenius.servers import postgres
with postgres(sys.argv[1]) as server:
    pid = server.pid
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.close(write)
        os.read(read, 1)  # until the parent ends
        os._exit(0)
assert not os.path.exists(f"/proc/{pid}")
with postgres(sys.argv[1]) as server:
    assert server.pid != pid
"""
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["postgres", "valkey"])
def test_opener_killed_before_its_keeper_speaks(new_folder, kind):
    """The keeper finds nobody to report to, and goes on: for whoever opens the folder now, until he leaves."""
    code = """
import os, signal, subprocess, sys
from mailgenius import servers
class Last(subprocess.Popen):
    def __init__(self, command, **how):
        super().__init__(command, **how)
        if any(str(word).endswith("_keeper.py") for word in command):
            os.kill(os.getpid(), signal.SIGKILL)
subprocess.Popen = Last
getattr(servers, sys.argv[2])(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", code, str(new_folder), kind], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with getattr(servers, kind)(new_folder) as server:
        pid = server.pid
        assert "_keeper.py" in Path(f"/proc/{keeper_of(pid)}/cmdline").read_text()
    assert gone(pid, 0)


def test_opener_killed_at_any_moment(new_folder):
    for milliseconds in (30, 120, 200, 300, 400, 500, 650):
        with User(new_folder) as opener:
            try:
                opener.process.wait(milliseconds / 1000)
            except subprocess.TimeoutExpired:
                opener.process.kill()
    with postgres(new_folder) as server:
        assert value(server.dsn, "select 1") == 1
    assert not list(new_folder.glob("pgdata.new-*"))


def test_stop_is_for_everyone(folder):
    with postgres(folder) as server, User(folder) as other:
        pid = other.opened()["pid"]
        server.stop("immediate")
        assert gone(pid, 0)
        server.start()
        assert value(server.dsn, "select 1") == 1
