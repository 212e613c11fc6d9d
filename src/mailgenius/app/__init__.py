"""Everything wired together."""

from ._sync import Mailgenius, open

__all__ = ["Mailgenius", "open"]
