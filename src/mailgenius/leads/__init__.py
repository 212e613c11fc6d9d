"""Leads: the model, the schema and its migrations, reading and suppressing, segments."""

from ._sync import LeadPage, Leads
from .attribute import Attribute
from .model import SUPPRESSION_REASONS, Lead, check_slug
from .schema import Migration, MigrationStatus, check_schema, migrate, migration_status, migrations
from .segment import Segment

__all__ = [
    "SUPPRESSION_REASONS",
    "Attribute",
    "Lead",
    "LeadPage",
    "Leads",
    "Migration",
    "MigrationStatus",
    "Segment",
    "check_schema",
    "check_slug",
    "migrate",
    "migration_status",
    "migrations",
]
