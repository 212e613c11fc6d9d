"""``open()`` and ``Mailgenius``: the one place that knows every room."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from mailgenius.config import Settings, load
from mailgenius.leads import Leads, Migration, check_schema
from mailgenius.leads import migrate as apply_migrations
from mailgenius.pool import Pool

if TYPE_CHECKING:
    from types import TracebackType

    from mailgenius.importer import Importer
    from mailgenius.servers import PostgresServer


def open(
    database_url: str | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | Settings | None = None,
    migrate: bool | None = None,
    **overrides: Any,
) -> Mailgenius:
    """Everything wired; use it in ``with``.

    Settings come from the arguments, then ``MAILGENIUS_*``, then ``config`` or ``mailgenius.toml``
    (``mailgenius.config.load``). Without a database URL, the embedded PostgreSQL of ``home`` is started (or joined)
    and its schema brought up to date. With one, the schema is checked, and ``SchemaError`` says what to run;
    ``migrate=True`` brings it up to date instead.

    Raises ``ConfigError``, ``ServerError``, ``DatabaseUnavailable``, ``SchemaError``.
    """
    if home is not None:
        overrides["home"] = os.fspath(home)
    settings = load(config, database_url=database_url, **overrides)
    return Mailgenius(settings, migrate=migrate)


class Mailgenius:
    """A database with its leads and importer. Made by ``open``."""

    def __init__(self, settings: Settings, *, migrate: bool | None = None) -> None:
        self.settings = settings
        self.server: PostgresServer | None = None
        self._importer: Importer | None = None
        url = settings.database_url
        if url is None:
            from mailgenius.servers import postgres

            self.server = postgres(settings.home_path / "postgres")
            url = self.server.dsn
        try:
            self.pool = Pool(url, settings=settings.pool)
            try:
                if migrate or (migrate is None and self.server is not None):
                    apply_migrations(self.pool)
                else:
                    check_schema(self.pool)
            except BaseException:
                self.pool.close()
                raise
        except BaseException:
            if self.server is not None:
                self.server.close()
            raise
        self.leads = Leads(self.pool)

    @property
    def importer(self) -> Importer:
        if self._importer is None:
            # Late: it is the largest room, and many programs never import.
            from mailgenius.importer import Importer

            self._importer = Importer(self.pool, self.settings.importer)
        return self._importer

    def migrate(self) -> list[Migration]:
        """Brings the schema up to date; the migrations applied now."""
        return apply_migrations(self.pool)

    def close(self) -> None:
        """Closes the connections and leaves the embedded server, which stops with its last user. Safe to repeat."""
        self.pool.close()
        if self.server is not None:
            self.server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Mailgenius {self.server or self.pool!r}>"
