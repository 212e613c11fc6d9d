"""``AsyncLeads``: the leads of all workspaces."""

from __future__ import annotations

from .attributes_async import Attributes
from .campaigns_async import Campaigns
from .exporting_async import Exporting
from .merging_async import Merging
from .reading_async import Reading
from .writing_async import Writing


class AsyncLeads(Reading, Writing, Exporting, Campaigns, Merging, Attributes):
    """The leads of all workspaces. A workspace is named by its slug, such as "acme".

    Raises ``NotFound`` if there is no such workspace, ``ConfigError`` if an argument cannot be, with its path.
    """
