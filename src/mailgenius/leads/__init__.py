"""Leads: the model, the schema and its migrations, reading and suppressing."""

from ._sync import LeadPage, Leads
from .model import SUPPRESSION_REASONS, Lead, check_slug
from .schema import Migration, MigrationStatus, check_schema, migrate, migration_status, migrations

__all__ = [
    "SUPPRESSION_REASONS",
    "Lead",
    "LeadPage",
    "Leads",
    "Migration",
    "MigrationStatus",
    "check_schema",
    "check_slug",
    "migrate",
    "migration_status",
    "migrations",
]
