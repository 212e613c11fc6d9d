"""Leads: the model, the schema and its migrations, segments, reading, writing, exporting."""

from ._async import AsyncLeads
from ._sync import Leads
from .attribute import Attribute
from .campaign import CampaignCounts, CampaignPoint, CampaignStats
from .merge import DuplicateGroup, DuplicatePage, Merged
from .model import SUPPRESSION_REASONS, Lead, LeadPage, LeadStats, Upserted, check_slug
from .schema import Migration, MigrationStatus, check_schema, migrate, migration_status, migrations
from .segment import Segment

__all__ = [
    "SUPPRESSION_REASONS",
    "AsyncLeads",
    "Attribute",
    "CampaignCounts",
    "CampaignPoint",
    "CampaignStats",
    "DuplicateGroup",
    "DuplicatePage",
    "Lead",
    "LeadPage",
    "LeadStats",
    "Leads",
    "Merged",
    "Migration",
    "MigrationStatus",
    "Segment",
    "Upserted",
    "check_schema",
    "check_slug",
    "migrate",
    "migration_status",
    "migrations",
]
