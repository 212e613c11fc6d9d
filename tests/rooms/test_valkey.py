"""The embedded Valkey: starting, sharing, stopping, whatever way its users or itself end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from mailgenius.errors import ServerError
from mailgenius.servers import embedded_valkey_settings, valkey

from .processes import User, gone, keeper_of


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True, socket_timeout=5, retry=None)


def ping(url: str) -> bool:
    with client(url) as connection:
        return bool(connection.ping())


# One user


def test_open_use_close(new_folder):
    with valkey(new_folder) as server:
        assert server.version.startswith("9.")
        assert server.ask("INFO", "server").count(f"valkey_version:{server.version}") == 1
        assert server.url.startswith("unix://")
        assert server.port is None
        assert ping(server.url)
        assert server.ask("CONFIG", "GET", "port") == ["port", "0"]
        pid, sockets = server.pid, server.socket_dir
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert gone(pid, 0)
    assert not sockets.exists()
    assert "closed" in repr(server)
    with pytest.raises(ServerError, match="not started"):
        server.url  # noqa: B018
    server.close()
    server.start()
    server.start()
    assert server.pid != pid
    server.close()


def test_data_outlives_the_server(new_folder):
    with valkey(new_folder) as server:
        server.ask("SET", "k", b"\xff\x00")
        assert server.ask("CONFIG", "GET", "maxmemory-policy") == ["maxmemory-policy", "noeviction"]
    with valkey(new_folder) as server:
        assert server.ask("GET", "k") == b"\xff\x00"


def test_what_was_acknowledged_outlives_a_kill(new_folder):
    with valkey(new_folder, port=0) as server:
        url, pid = server.url, server.pid
        with client(url) as connection:
            for number in range(100):
                connection.rpush("numbers", number)
        server.kill()
        assert not server.alive
        assert "down" in repr(server)
        with pytest.raises(ServerError, match="does not answer"):
            server.ask("PING")
        server.restart()
        assert (server.url, server.pid != pid) == (url, True)
        assert server.ask("LLEN", "numbers") == 100


def test_the_next_opener_revives_a_killed_server(new_folder):
    with valkey(new_folder) as server:
        server.ask("SET", "k", "v")
        server.kill()
        with User(new_folder, kind="valkey") as other:
            revived = other.opened()["pid"]
            server.start()
            assert (server.pid, server.ask("GET", "k")) == (revived, "v")


def test_spaces_quotes_and_a_long_path(place):
    folder = place / 'it\'s a "folder", é' / ("x" * 100) / ("y" * 150)
    with valkey(folder) as server:
        assert len(str(server.socket)) < 108
        assert ping(server.url)


def test_an_awkward_temporary_folder(new_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("t" * 120)))
    with valkey(new_folder) as server:
        assert ping(server.url)


def test_secrets_stay_in_the_folder(new_folder):
    with valkey(new_folder, port=0) as server:
        password = (new_folder / "password").read_text().strip()
        assert server.password == password
        assert password in server.url
        assert password not in repr(server)
        for process in (server.pid, keeper_of(server.pid)):
            assert password not in Path(f"/proc/{process}/cmdline").read_text()
        with pytest.raises(redis.AuthenticationError):
            ping(server.url.replace(password, "guess"))
        with redis.Redis(port=server.port, retry=None) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [new_folder, *new_folder.rglob("*")]}
    assert not any(mode & 0o077 for mode in modes.values()), modes


def test_port(new_folder):
    with valkey(new_folder, port=0) as server:
        port = server.port
        assert server.url.endswith(f"@127.0.0.1:{port}/0")
        assert ping(server.url)
        with valkey(new_folder) as second:
            assert second.url.startswith("unix://")
        with pytest.raises(ServerError, match=f"on port {port}, not on 1025"):
            valkey(new_folder, port=1025)
    with valkey(new_folder, port=port) as server:
        assert server.port == port


def test_port_taken(new_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerError, match="port is taken"):
            valkey(new_folder, port=taken.getsockname()[1])


def test_settings(new_folder):
    with valkey(new_folder, settings={"maxmemory": "100mb", "activedefrag": False, "save": "900 1"}) as server:
        assert server.ask("CONFIG", "GET", "maxmemory") == ["maxmemory", str(100 << 20)]
        assert server.ask("CONFIG", "GET", "save") == ["save", "900 1"]
        with pytest.raises(ServerError, match="already runs with another maxmemory"):
            valkey(new_folder, settings={"maxmemory": "1mb"})
    with pytest.raises(ServerError, match=r"refuses a setting: no-such-thing 1: Bad directive"):
        valkey(new_folder, settings={"no-such-thing": 1})
    with pytest.raises(ServerError, match=r"refuses a setting: maxmemory much"):
        valkey(new_folder, settings={"maxmemory": "much"})
    for wrong in ({"maxmemory": "1mb\nport 1"}, {"port 1": "x"}, {"": "x"}):
        with pytest.raises(ServerError, match="Valkey has no setting"):
            valkey(new_folder, settings=wrong)


def test_passwords_of_ones_own(new_folder):
    with valkey(new_folder, port=0, settings={"requirepass": ""}) as server:
        assert server.url == f"redis://127.0.0.1:{server.port}/0"
        assert ping(server.url)
    with valkey(new_folder, settings={"requirepass": 'a "b" \\/@'}) as server:
        assert ping(server.url)
        with valkey(new_folder) as second:
            assert second.url == server.url
    with pytest.raises(ServerError, match="refuses a setting") as caught:
        valkey(new_folder, settings={"requirepass": "hush", "masterauth": "hush", "maxmemory": "hm"})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("memory", [64 << 20, 1 << 30, 1 << 40])
def test_settings_fit_any_memory(memory):
    settings = embedded_valkey_settings(memory)
    assert 64 <= int(settings["maxmemory"].removesuffix("mb")) <= max(64, memory >> 21)


def test_pause_and_resume(new_folder):
    with valkey(new_folder) as server:
        server.pause()
        assert server.paused
        with pytest.raises(redis.TimeoutError), redis.Redis.from_url(server.url, socket_timeout=0.05) as connection:
            connection.ping()
        server.resume()
        assert ping(server.url)
        assert not server.paused
        server.pause()
        pid = server.pid
    assert gone(pid, 0)


def test_opening_waits_until_the_data_is_loaded(new_folder):
    with valkey(new_folder) as server:
        server.ask("EVAL", "for i = 1, 5000 do redis.call('set', i, i) end", 0)
        server.ask("CONFIG", "SET", "appendonly", "no")
        server.ask("CONFIG", "SET", "appendonly", "yes")  # the log begins with a snapshot
    with valkey(new_folder, settings={"key-load-delay": 100}) as server:
        assert "loading:0" in server.ask("INFO", "persistence")
        assert server.ask("DBSIZE") == 5000


# Several users


def test_users_share_one_server_and_the_last_stops_it(new_folder):
    with valkey(new_folder) as mine, User(new_folder, kind="valkey") as other:
        theirs = other.opened()
        assert (theirs["pid"], theirs["dsn"]) == (mine.pid, mine.url)
        pid = mine.pid
        mine.close()
        assert ping(theirs["dsn"])
        other.close()
        assert gone(pid, 0)


def test_many_start_a_new_folder_at_once(new_folder):
    users = [User(new_folder, kind="valkey") for _ in range(4)]
    pids = {user.opened()["pid"] for user in users}
    assert len(pids) == 1
    for user in users:
        user.__exit__()
    assert gone(pids.pop())


def test_killed_users(new_folder):
    with User(new_folder, kind="valkey") as owner:
        pid = owner.opened()["pid"]
        with valkey(new_folder) as server:
            owner.process.kill()
            owner.process.wait()
            server.ask("SET", "k", "v")
    with User(new_folder, kind="valkey") as last:
        pid = last.opened()["pid"]
        last.process.kill()
        last.process.wait()
        assert gone(pid)
    with valkey(new_folder) as server:
        assert server.ask("GET", "k") == "v"


def test_killed_keeper_is_replaced(new_folder):
    with valkey(new_folder) as server:
        pid = server.pid
        os.kill(keeper_of(pid), signal.SIGKILL)
        with User(new_folder, kind="valkey") as other:
            assert other.opened()["pid"] == pid
            server.close()
            other.process.kill()
            other.process.wait()
            assert gone(pid)


def test_opener_killed_at_any_moment(new_folder):
    for milliseconds in (30, 120, 170, 220, 270, 320, 400):
        with User(new_folder, kind="valkey") as opener:
            try:
                opener.process.wait(milliseconds / 1000)
            except subprocess.TimeoutExpired:
                opener.process.kill()
    with valkey(new_folder) as server:
        assert ping(server.url)


def test_stop_is_for_everyone(new_folder):
    with valkey(new_folder) as server, User(new_folder, kind="valkey") as other:
        pid = other.opened()["pid"]
        server.stop()
        assert gone(pid, 0)
        server.start()
        assert ping(server.url)


def test_forked_child_does_not_stop_it(new_folder):
    code = """
import os, sys
from mailgenius.servers import valkey
with valkey(sys.argv[1]) as server:
    if (child := os.fork()) == 0:
        server.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert server.ask("PING") == "PONG"
"""
    subprocess.run([sys.executable, "-c", code, str(new_folder)], check=True, timeout=60)
