"""Everything wired together."""

from ._async import AsyncMailgenius, open_async
from ._sync import Mailgenius, open

__all__ = ["AsyncMailgenius", "Mailgenius", "open", "open_async"]
