"""What systemd is told, by the protocol of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

__all__ = ["Notify"]


class Notify:
    """Takes its variables out of ``environ``, so that processes that are started do not speak for us. Without them it does
    nothing."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        #: Seconds between two signs of life, half of what systemd allows; None: it wants none.
        self.interval: float | None = None
        if usec.isdigit() and int(usec) and pid in ("", str(os.getpid())):
            self.interval = int(usec) / 2e6
        self._status = ""
        self._socket: socket.socket | None = None
        if address[:1] in ("/", "@"):  # a file, or a name in the abstract name space
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._address = "\0" + address[1:] if address[0] == "@" else address

    def say(self, *lines: str) -> None:
        """Such as ``READY=1``. systemd being away or slow must not hold us up."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address)

    def status(self, text: str) -> None:
        """For ``systemctl status``; said when it is another one."""
        if text != self._status:
            self._status = text
            self.say(f"STATUS={text}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
