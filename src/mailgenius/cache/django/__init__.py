"""Django's cache over Redis: ``mailgenius.cache.django.Backend`` for ``CACHES``. The one place that imports Django."""

from __future__ import annotations

from .backend import Backend
from .options import Options
from .store import BackendMetrics, close_all

__all__ = ["Backend", "BackendMetrics", "Options", "close_all"]
