"""Real servers from wheels, started and stopped by us, for machines where nobody has installed any.

``postgres()`` gives a private PostgreSQL: one per data folder, shared by all processes that open it, stopped with
its last user. See docs/guides/servers.md.
"""

from ._postgres import PostgresServer, postgres
from ._settings import embedded_settings

__all__ = ["PostgresServer", "embedded_settings", "postgres"]
