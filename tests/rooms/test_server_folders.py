"""The embedded PostgreSQL and its data folder: who may use it, what may lie in it, what if the disk is full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mailgenius.errors import ServerError
from mailgenius.servers import postgres

from .processes import fill, gone, keeper_of, nobody, value

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

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
    used, _ = _binaries.runnable_install((nobody()["user"], nobody()["group"]))
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
