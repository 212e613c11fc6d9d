"""The embedded PostgreSQL: starting, sharing, stopping, whatever way its users end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from mailgenius.errors import ServerError
from mailgenius.servers import embedded_settings, postgres
from mailgenius.servers._binaries import MAJOR
from mailgenius.servers._system import start_ticks

from .processes import User, nobody, python_for_all

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether the process ended within ``seconds``; woken by the kernel, not by a clock."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0]) or start_ticks(pid) is None
    finally:
        os.close(handle)


def keeper_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[1])


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row and row[0]


def run(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def as_nobody():
    """Opens a folder as an ordinary user."""
    with python_for_all() as python:
        if python is None:
            pytest.skip("needs root, and an interpreter that others can run")
        yield lambda folder: User(folder, python, **nobody())


@pytest.fixture
def public(fast_path):
    """A folder that an ordinary user may reach and write: those of the other tests are root's alone."""
    with tempfile.TemporaryDirectory(prefix="mg-test-", dir=fast_path.parent) as name:
        Path(name).chmod(0o777)
        yield Path(name)


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


# Root and ordinary users


def test_as_an_ordinary_user(as_nobody, public):
    with as_nobody(public / "data") as user:
        answer = user.opened()
        assert answer["uid"] == nobody()["user"]
        user.close()
        assert gone(answer["pid"], 0)


def test_root_opens_an_ordinary_users_folder_and_leaves_it_usable(as_nobody, public):
    with as_nobody(public / "data") as user:
        user.opened()
        user.close()
    with postgres(public / "data") as server, as_nobody(public / "data") as user:
        assert user.opened()["pid"] == server.pid
        server.close()
        user.close()
    with as_nobody(public / "data") as user:
        assert "pid" in user.opened()
        user.close()


def test_a_folder_of_someone_else(as_nobody, public):
    with postgres(public / "data"), as_nobody(public / "data") as user:
        answer = user.opened()
        assert answer["kind"] == "ServerError"
        assert "cannot be used by nobody" in answer["error"]
    (public / "data").chmod(0o755)
    with as_nobody(public / "data") as user:
        assert "belongs to root (uid 0), this process runs as nobody" in user.opened()["error"]


@root
def test_programs_out_of_the_servers_reach_are_copied(tmp_path, monkeypatch):
    import shutil

    from mailgenius.servers import _binaries

    install = _binaries.find_install()
    hidden = tmp_path / "site-packages"  # below a folder that is root's alone
    for folder in (install, install.parent.parent / f"{_binaries.PACKAGE}.libs"):
        shutil.copytree(folder, hidden / folder.relative_to(install.parent.parent), copy_function=os.link)
    monkeypatch.setattr(_binaries, "find_install", lambda: hidden / install.relative_to(install.parent.parent))
    used = _binaries.runnable_install((nobody()["user"], nobody()["group"]))
    assert not used.is_relative_to(tmp_path)
    try:
        with postgres(tmp_path / "data") as server:
            assert value(server.dsn, "select 1") == 1
    finally:
        shutil.rmtree(used.parent.parent)


# What may lie in the folder


def pg_version(folder: Path, text: str) -> None:
    (folder / "pgdata" / "PG_VERSION").write_text(text)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("16\n", r"holds data of PostgreSQL 16, this mailgenius starts PostgreSQL 18.*pg_dumpall"),
        ("19\n", r"holds data of PostgreSQL 19.*newer mailgenius"),
        ("rubbish", "holds data of PostgreSQL rubbish"),
    ],
)
def test_other_major_version(new_folder, found, message):
    (new_folder / "pgdata").mkdir(parents=True)
    pg_version(new_folder, found)
    with pytest.raises(ServerError, match=message):
        postgres(new_folder)


def test_foreign_folders(new_folder, place):
    new_folder.mkdir()
    (new_folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ServerError, match=r"not made by mailgenius \(it holds 'thesis.txt'\)"):
        postgres(new_folder)
    (new_folder / "PG_VERSION").write_text("15\n")
    with pytest.raises(ServerError, match=r"data folder of a PostgreSQL \(version 15\) that mailgenius did not make"):
        postgres(new_folder)
    with pytest.raises(ServerError, match="is not a folder"):
        postgres(new_folder / "thesis.txt")
    with pytest.raises(ServerError, match="is not a folder"):
        postgres(new_folder / "thesis.txt" / "below")
    assert (new_folder / "thesis.txt").read_text() == "years of work"
    (place / "empty").mkdir()
    with postgres(place / "empty") as server:
        assert server.alive


def test_damaged_cluster(folder):
    with postgres(folder):
        pass
    control = folder / "pgdata" / "global" / "pg_control"
    control.rename(folder / "pgdata" / "aside")
    with pytest.raises(ServerError, match="is damaged or incomplete"):
        postgres(folder)
    (folder / "pgdata" / "aside").rename(control)
    (folder / "pgdata" / "PG_VERSION").unlink()
    with pytest.raises(ServerError, match="not a complete PostgreSQL data folder"):
        postgres(folder)


def test_stale_pid_files(folder):
    with postgres(folder) as server:
        sockets = server.socket_dir
        server.kill()
        # Pids come again: those in the remains now belong to a living process of the server's user.
        owner = (folder / "pgdata").stat()
        who = nobody() if owner.st_uid != os.geteuid() else {}
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/", **who) as innocent:
            for file in (folder / "pgdata" / "postmaster.pid", sockets / ".s.PGSQL.5432.lock"):
                lines = file.read_text().splitlines()
                file.write_text("\n".join([str(innocent.pid), *lines[1:]]) + "\n")
            server.restart()
            assert value(server.dsn, "select 1") == 1
            assert innocent.poll() is None
            innocent.stdin.close()


def test_a_stale_state_file_names_a_stranger(folder):
    with postgres(folder):
        pass
    state = {"pid": os.getpid(), "started": 1, "socket_dir": "/nowhere", "port": 0, "version": "", "settings": {}}
    (folder / "server.json").write_text(json.dumps(state))
    with postgres(folder) as server:
        assert value(server.dsn, "select 1") == 1
    (folder / "server.json").write_text("{half")
    with postgres(folder) as server:
        assert value(server.dsn, "select 1") == 1


def test_a_server_that_is_not_ours(folder):
    with postgres(folder) as server:
        pid, keeper = server.pid, keeper_of(server.pid)
        os.kill(keeper, signal.SIGKILL)
        assert gone(keeper)
        (folder / "server.json").unlink()
        with pytest.raises(ServerError, match=rf"Another PostgreSQL \(pid {pid}\), not started by mailgenius"):
            postgres(folder)
        os.kill(pid, signal.SIGINT)
        assert gone(pid)


def test_loose_permissions_are_mended(folder):
    with postgres(folder):
        pass
    (folder / "pgdata").chmod(0o2770)
    with postgres(folder) as server:
        assert value(server.dsn, "select 1") == 1


def test_a_lost_password_is_told(folder):
    with postgres(folder):
        pass
    (folder / "password").unlink()
    with pytest.raises(ServerError, match="does not open the server"):
        postgres(folder)


# Full disks


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


def fill(disk: Path, leave: int) -> Path:
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast = disk / "lost+found"  # a name that may lie in a data folder
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - leave, 1))
    return ballast


@pytest.mark.parametrize("leave", [0, 4 << 10, 20 << 20])
def test_disk_full_before_the_cluster(small_disk, leave, monkeypatch):
    folder = small_disk / "data"
    ballast = fill(small_disk, leave)
    with pytest.raises(ServerError, match=r"disk is full|No space left"):
        postgres(folder)
    monkeypatch.setattr("mailgenius.servers._cluster.NEEDED_BYTES", 0)
    with pytest.raises(ServerError, match=r"disk is full|No space left"):
        postgres(folder)
    ballast.unlink()
    with postgres(folder) as server:
        assert value(server.dsn, "select 1") == 1


def test_disk_full_at_start(small_disk):
    folder = small_disk / "data"
    settings = {"min_wal_size": "32MB", "max_wal_size": "64MB"}
    with postgres(folder, settings=settings):
        pass
    ballast = fill(small_disk, 0)
    with pytest.raises(ServerError, match=r"disk is full|No space left"):
        postgres(folder, settings=settings)
    ballast.unlink()
    with postgres(folder, settings=settings) as server:
        assert value(server.dsn, "select 1") == 1


def test_file_size_limit(new_folder):
    code = """
import resource, sys
from mailgenius.servers import postgres
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
postgres(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", code, str(new_folder)], capture_output=True, text=True, check=False)
    assert "mailgenius.errors.ServerError: The disk is full (or a quota or file size limit is reached)" in done.stderr
