# Made from _async.py by `python -m tools.twin`: edit that one.
"""``Leads``: the leads of all workspaces."""

from __future__ import annotations

from .attributes_sync import Attributes
from .campaigns_sync import Campaigns
from .exporting_sync import Exporting
from .merging_sync import Merging
from .reading_sync import Reading
from .writing_sync import Writing


class Leads(Reading, Writing, Exporting, Campaigns, Merging, Attributes):
    """The leads of all workspaces. A workspace is named by its slug, such as "acme".

    Raises ``NotFound`` if there is no such workspace, ``ConfigError`` if an argument cannot be, with its path.
    """
