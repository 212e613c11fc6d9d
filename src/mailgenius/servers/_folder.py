"""The data folder of one embedded server: what lies in it, who may use it, its locks and its recorded state.

    open        flock: held by whoever is starting, adopting or stopping a server
    users       flock: shared by every user; exclusive by the keeper once there are none
    keeper      flock: held by the keeper for as long as it watches a server
    server.json which server runs here (pid, start time, socket folder, port); a hint, checked against /proc
    password    made with the data
    the log, and the server's own data in a folder of its own (see the subclasses)

Invariants: everything belongs to the folder's owner, but for the data when root opens its own folder, which belongs
to the unprivileged user the server runs as.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import stat
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from mailgenius.errors import ServerError

from ._system import free_bytes, user_name

if TYPE_CHECKING:
    from pathlib import Path


class State(msgspec.Struct, frozen=True):
    """The content of server.json."""

    pid: int
    started: int
    socket_dir: str
    port: int  # 0: no TCP
    version: str
    settings: dict[str, str]  # what the user asked for beyond ours


class Folder:
    program: ClassVar[str]  # as users know it
    data_name: ClassVar[str]
    log_name: ClassVar[str]
    ours: ClassVar[re.Pattern[str]]  # names that may lie here

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / self.data_name
        self.log = path / self.log_name
        self.state_file = path / "server.json"

    def prepare(self) -> None:
        """Makes the folder, or checks that an existing one is ours to use."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_foreign_data()
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
        strangers = sorted(name for name in names if not self.ours.fullmatch(name) and name != "lost+found")
        if strangers and self.data_name not in names:
            raise ServerError(
                f"{self.path} is not empty and was not made by mailgenius (it holds {strangers[0]!r}). Choose an"
                " empty or new folder."
            )
        if self.data_name in names:
            self._check_owner()
            self._check_data()

    def _refuse_foreign_data(self) -> None:
        """Raises if a server that is not ours keeps its data right here."""

    def _check_data(self) -> None:
        """Raises if the data is not complete, or not for our server."""

    def _check_owner(self) -> None:
        me = os.geteuid()
        try:
            seen = self.data.lstat()
            if not stat.S_ISDIR(seen.st_mode):
                raise ServerError(f"{self.data} is not a folder. Choose another data folder.")
            if me not in (0, seen.st_uid):
                raise ServerError(
                    f"{self.data} belongs to {user_name(seen.st_uid)}, this process runs as {user_name(me)}. Run"
                    f" it as the owner, or give the folder away (server stopped): chown -R {me} '{self.path}'"
                )
            if seen.st_mode & 0o077:
                # PostgreSQL refuses such a folder; mounts of orchestrators add group rights at every start.
                self.data.chmod(0o700)
        except OSError as error:
            raise ServerError(f"{error.filename or self.data} cannot be used: {error.strerror}.") from error

    def server_user(self) -> tuple[int, int] | None:
        """Who the server runs as, if not ourselves: PostgreSQL refuses root, and no other server needs it.

        The owner of existing data; for new data the folder's owner, and where that is root, nobody.
        """
        if os.geteuid() != 0:
            return None
        for path in (self.data, self.path):
            with contextlib.suppress(FileNotFoundError):
                seen = path.stat()
                if seen.st_uid != 0:
                    return seen.st_uid, seen.st_gid
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise ServerError(
                f"{self.program} must not run as root, and this system has no user 'nobody' to run it as. Add one, or"
                " give the data folder to an ordinary user."
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
                f" chown -R {os.geteuid()} '{self.path}'"
            ) from error
        except OSError as error:
            raise ServerError(f"{self.path / name} cannot be written: {error.strerror}.") from error
        if (owner := self.owner()) is not None:
            os.fchown(fd, *owner)
        return fd

    def password(self) -> str:
        """The server's password; made on first use, 256 bits."""
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

    def write_data(self, name: str, text: str, owner: tuple[int, int] | None) -> None:
        """Replaces a file among the data in one step, owned by the server's user."""
        part = self.data / f".{name}.part"
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
        part.rename(self.data / name)

    def trim_log(self, most: int = 10 << 20) -> None:
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > most:
                self.log.rename(self.log.with_name(f"{self.log_name}.1"))

    def where(self) -> dict[str, Any]:
        """What ``explain`` wants to know."""
        return {"folder": str(self.path), "free": free_bytes(self.path), "log": str(self.log)}
