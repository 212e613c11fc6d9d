"""The data folder of one embedded PostgreSQL: what lies in it, who may use it, its locks and its recorded state.

    open        flock: held by whoever is starting, adopting or stopping a server
    users       flock: shared by every user; exclusive by the keeper once there are none
    keeper      flock: held by the keeper for as long as it watches a server
    server.json which server runs here (pid, start time, socket folder, port); a hint, checked against /proc
    password    of the superuser, made with the cluster
    postgres.log
    pgdata/     the cluster; pgdata.new-* while one is being made

Invariants: pgdata appears complete or not at all (it is renamed into place); everything belongs to the folder's
owner, but for pgdata when root opens its own folder, which belongs to the unprivileged user the server runs as.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import stat
from typing import TYPE_CHECKING

import msgspec

from mailgenius.errors import ServerError

from ._binaries import MAJOR
from ._system import user_name

if TYPE_CHECKING:
    from pathlib import Path

OURS = re.compile(r"open|users|keeper|server\.json(\.part)?|password|postgres\.log(\.1)?|pgdata|pgdata\.new-\w+")


class State(msgspec.Struct, frozen=True):
    """The content of server.json."""

    pid: int
    started: int
    socket_dir: str
    port: int  # 0: no TCP
    version: str
    settings: dict[str, str]  # what the user asked for beyond ours


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.pgdata = path / "pgdata"
        self.log = path / "postgres.log"
        self.state_file = path / "server.json"

    def prepare(self) -> None:
        """Makes the folder, or checks that an existing one is ours to use."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (self.path / "PG_VERSION").exists():
                raise ServerError(
                    f"{self.path} is the data folder of a PostgreSQL (version"
                    f" {(self.path / 'PG_VERSION').read_text().strip()}) that mailgenius did not make. Choose another"
                    " folder, or run that server yourself and give its URL as database_url."
                )
            owner = self.path.stat().st_uid
            names = os.listdir(self.path)  # noqa: PTH208
        except (FileExistsError, NotADirectoryError):
            raise ServerError(
                f"{self.path} is not a folder (or lies below a file). Choose another data folder."
            ) from None
        except PermissionError as error:
            raise ServerError(
                f"{error.filename} cannot be used by {user_name(os.geteuid())}: permission denied. Choose another data"
                " folder (data_dir, MAILGENIUS_HOME), or give this one to that user."
            ) from error
        except OSError as error:
            raise ServerError(f"The data folder {self.path} cannot be made: {error.strerror}.") from error
        me = os.geteuid()
        if me not in (0, owner):
            raise ServerError(
                f"{self.path} belongs to {user_name(owner)}, this process runs as {user_name(me)}. Run it as the owner,"
                f" or give the folder away: chown -R {me} '{self.path}'"
            )
        strangers = sorted(name for name in names if not OURS.fullmatch(name) and name != "lost+found")
        if strangers and "pgdata" not in names:
            raise ServerError(
                f"{self.path} is not empty and was not made by mailgenius (it holds {strangers[0]!r}). Choose an"
                " empty or"
                " new folder."
            )
        if "pgdata" in names:
            self._check_cluster()

    def _check_cluster(self) -> None:
        me = os.geteuid()
        try:
            seen = self.pgdata.lstat()
            if not stat.S_ISDIR(seen.st_mode):
                raise ServerError(f"{self.pgdata} is not a folder. Choose another data folder.")
            if me not in (0, seen.st_uid):
                raise ServerError(
                    f"{self.pgdata} belongs to {user_name(seen.st_uid)}, this process runs as {user_name(me)}. Run"
                    " it as"
                    f" the owner, or give the folder away (server stopped): chown -R {me} '{self.path}'"
                )
            if seen.st_mode & 0o077:
                # PostgreSQL refuses such a folder; mounts of orchestrators add group rights at every start.
                self.pgdata.chmod(0o700)
            found = (self.pgdata / "PG_VERSION").read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            raise ServerError(
                f"{self.pgdata} is not a complete PostgreSQL data folder (PG_VERSION is missing or unreadable)."
                " Restore a"
                " backup, or move the folder aside to start with an empty database."
            ) from None
        except OSError as error:
            raise ServerError(f"{error.filename or self.pgdata} cannot be used: {error.strerror}.") from error
        if found != str(MAJOR):
            older = found.isdigit() and int(found) < MAJOR
            raise ServerError(
                f"{self.pgdata} holds data of PostgreSQL {found}, this mailgenius starts PostgreSQL {MAJOR}. "
                + (
                    f"Dump it with the programs of version {found} (pg_dumpall), move the folder aside, start again and"
                    " load the dump; or convert it with pg_upgrade."
                    if older
                    else "Install the newer mailgenius that made it, or choose another data folder."
                )
            )

    def server_user(self) -> tuple[int, int] | None:
        """Who the server runs as, if not ourselves: PostgreSQL refuses root.

        The owner of an existing cluster; for a new one the folder's owner, and where that is root, nobody.
        """
        if os.geteuid() != 0:
            return None
        for path in (self.pgdata, self.path):
            with contextlib.suppress(FileNotFoundError):
                seen = path.stat()
                if seen.st_uid != 0:
                    return seen.st_uid, seen.st_gid
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise ServerError(
                "PostgreSQL refuses to run as root, and this system has no user 'nobody' to run it as. Add one, or give"
                " the data folder to an ordinary user."
            ) from None
        return nobody.pw_uid, nobody.pw_gid

    def owner(self) -> tuple[int, int] | None:
        """To whom root gives the files it makes here, so that the owner can open the folder later."""
        if os.geteuid() != 0:
            return None
        seen = self.path.stat()
        return seen.st_uid, seen.st_gid

    def open_file(self, name: str, flags: int) -> int:
        """A descriptor of one of our files, made if need be; closed in programs we start, and never through a link."""
        try:
            fd = os.open(self.path / name, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except PermissionError as error:
            raise ServerError(
                f"{self.path / name} cannot be written by {user_name(os.geteuid())}. Give the folder to that user:"
                " chown -R"
                f" {os.geteuid()} '{self.path}'"
            ) from error
        except OSError as error:
            raise ServerError(f"{self.path / name} cannot be written: {error.strerror}.") from error
        if (owner := self.owner()) is not None:
            os.fchown(fd, *owner)
        return fd

    def password(self) -> str:
        """The superuser's password; made on first use, 256 bits."""
        fd = self.open_file("password", os.O_RDWR)
        try:
            if not (text := os.read(fd, 1000).decode("ascii").strip()):
                text = secrets.token_urlsafe(32)
                os.pwrite(fd, text.encode() + b"\n", 0)
                os.fsync(fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            raise ServerError(f"{self.path} cannot be written: {error.strerror}.") from error
        except UnicodeDecodeError:
            raise ServerError(f"{self.path / 'password'} is damaged. Restore it from a backup.") from None
        finally:
            os.close(fd)
        return text

    def state(self) -> State | None:
        try:
            return msgspec.json.decode(self.state_file.read_bytes(), type=State)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def forget_state(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.state_file.unlink()

    def postmaster_pid(self) -> tuple[int, str] | None:
        """Pid and status ("starting", "ready", …) from the server's own pid file; None if there is none."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text("utf-8", "replace").splitlines()
            return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def write_into_cluster(self, cluster: Path, name: str, text: str, owner: tuple[int, int] | None) -> None:
        """Replaces a file of the cluster in one step, owned by the server's user."""
        part = cluster / f".{name}.part"
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
        part.rename(cluster / name)

    def remove_leftovers(self) -> None:
        """What a killed initdb left."""
        for part in self.path.glob("pgdata.new-*"):
            shutil.rmtree(part, ignore_errors=True)

    def trim_log(self, most: int = 10 << 20) -> None:
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > most:
                self.log.rename(self.log.with_name("postgres.log.1"))
