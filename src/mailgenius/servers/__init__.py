"""Real servers from wheels, started and stopped by us, for machines where nobody has installed any.

``postgres()`` gives a private PostgreSQL and ``valkey()`` a private Valkey (what Redis was): one per data folder, shared
by all processes that open it, stopped with its last user. See docs/guides/servers.md.
"""

from ._postgres import PostgresServer, postgres
from ._settings import embedded_settings
from ._valkey import ValkeyServer, valkey
from ._valkey_cluster import ClusterNode, ValkeyCluster, valkey_cluster
from ._valkey_sentinel import SentinelGroup, valkey_sentinel
from ._valkey_settings import embedded_valkey_settings

__all__ = [
    "ClusterNode",
    "PostgresServer",
    "SentinelGroup",
    "ValkeyCluster",
    "ValkeyServer",
    "embedded_settings",
    "embedded_valkey_settings",
    "postgres",
    "valkey",
    "valkey_cluster",
    "valkey_sentinel",
]
