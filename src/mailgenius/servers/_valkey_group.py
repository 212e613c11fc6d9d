"""Several embedded Valkeys that belong together: started at once, stopped together, in a folder that is thrown away."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from mailgenius.errors import ServerError

from ._system import wait_for
from ._valkey import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

Node = TypeVar("Node", bound=ValkeyServer)


class Group(Generic[Node]):
    """The nodes of one topology. Not for use by several threads at once."""

    def __init__(self, timeout: float) -> None:
        self.data_dir = Path(tempfile.mkdtemp(prefix="mailgenius-"))
        self._timeout = timeout
        self.password = secrets.token_urlsafe(32)
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops all nodes, paused ones too, and removes what they wrote. Safe to repeat."""
        try:
            at_once([node.stop for node in self._all()])
        finally:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def serving(self) -> list[Node]:
        """The nodes that are neither down nor paused. Raises ``ServerError`` if there is none."""
        if not (found := [node for node in self.nodes if node.alive and not node.paused]):
            raise ServerError(f"No node in {self.data_dir} is up.")
        return found

    def _all(self) -> Sequence[ValkeyServer]:
        return self.nodes

    def _start(self) -> None:
        try:
            self._start_all()
            self.wait_ready()
        except BaseException:
            self.close()
            raise

    def _start_all(self) -> None:
        at_once([node.start for node in self._all()])

    def wait_ready(self, timeout: float | None = None) -> None:
        """Waits until the serving nodes agree that everything is well. Raises ``ServerError`` after ``timeout`` s."""
        seconds = self._timeout if timeout is None else timeout
        if not wait_for(lambda: not self._trouble(), seconds):
            raise ServerError(f"After {seconds:g} s, {self._trouble() or 'it took too long'}.")

    def _trouble(self) -> str:
        """What is not well yet; empty if nothing."""
        raise NotImplementedError


def at_once(calls: Sequence[Callable[[], None]]) -> None:
    """Makes all calls, in threads, and raises the first error when all have ended."""
    with ThreadPoolExecutor(max_workers=max(len(calls), 1)) as pool:
        done = [pool.submit(call) for call in calls]
    for one in done:
        one.result()
