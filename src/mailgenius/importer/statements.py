"""The SQL of the importer. Text comes from the files in sql/; what depends on the options is put together here from a
fixed table of column names, so that nothing from a file ever becomes SQL."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from psycopg import sql

from mailgenius._native import LEAD_FIELDS
from mailgenius.importer.options import UPDATABLE

__all__ = ["COPY_LEADS", "COPY_STAGE", "HEAD_COLUMNS", "INSERT_STAGE", "MAKE_STAGE", "STAGE_FIELDS", "Update", "text"]

#: Columns with one value for the whole import; they precede the lead's own fields in every COPY.
HEAD_COLUMNS = ("workspace_id", "import_id", "updated_at")
_STAGE = sql.Identifier("pg_temp", "mg_import_stage")
_LEADS = sql.Identifier("mailgenius", "leads")

#: Staged with an update: everything that may change, and the key. Bit i is lead field i.
STAGE_FIELDS = sum(1 << i for i, name in enumerate(LEAD_FIELDS) if name == "email" or name in UPDATABLE)


def text(name: str) -> str:
    """The statement in ``sql/<name>.sql``."""
    return files("mailgenius.importer").joinpath("sql", f"{name}.sql").read_text("utf-8")


def _names(names: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, names))


_ALL = (*HEAD_COLUMNS, *LEAD_FIELDS)
_STAGED = [name for i, name in enumerate(LEAD_FIELDS) if STAGE_FIELDS >> i & 1]

COPY_LEADS = sql.SQL("copy {} ({}) from stdin (format binary)").format(_LEADS, _names(_ALL))

#: The stage has the columns of leads. It lives for one transaction: behind a transaction pooler nothing may outlast that.
MAKE_STAGE = sql.SQL(
    "create temp table if not exists mg_import_stage on commit drop as select {} from {} with no data"
).format(_names(_ALL), _LEADS)


def copy_stage(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL("copy {} ({}) from stdin (format binary)").format(_STAGE, _names(columns))


COPY_STAGE = copy_stage(_STAGED)
COPY_STAGE_ALL = copy_stage(_ALL)
EMPTY_STAGE = sql.SQL("truncate {}").format(_STAGE)

#: For keys that others keep inserting at the same moment.
INSERT_STAGE = sql.SQL(
    'insert into {leads} ({names}) select {names} from {stage} order by email collate "C" '
    "on conflict (workspace_id, email) do nothing"
).format(leads=_LEADS, names=_names(_ALL), stage=_STAGE)

#: What a lead's field becomes. NULL in the stage means that the file says nothing, and nothing is erased by that.
_NEW = {
    "tags": "case when s.tags is null or s.tags <@ l.tags then l.tags"
    " else l.tags || array(select t from unnest(s.tags) as t where t <> all (l.tags)) end",
    "attributes": "case when s.attributes is null then l.attributes else l.attributes || s.attributes end",
    # who opted out, complained or bounced stays so: a file that says "active" is older news
    "status": "case when s.status is null or (l.status in ('unsubscribed', 'complained', 'bounced')"
    " and s.status in ('active', 'pending')) then l.status else s.status end",
}


_KEPT = (*UPDATABLE, "updated_at")


def _coalesce(name: str) -> sql.Composed:
    return sql.SQL("coalesce(s.{name}, l.{name})").format(name=sql.Identifier(name))


class Update:
    """The two statements that change existing leads from the stage: keep what was, overwrite it.

    The first locks the rows it keeps, so what is kept is what the second one overwrites, whatever the app does meanwhile.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        chosen = [name for name in UPDATABLE if name in set(columns)]
        new = {name: sql.SQL(_NEW[name]) if name in _NEW else _coalesce(name) for name in chosen}
        matching = sql.SQL(
            ' {stage} s where l.workspace_id = %(workspace)s::int4 and l.email = s.email collate "C"'
            ' and l.email >= %(lo)s collate "C" and l.email <= %(hi)s collate "C" and ({differs})'
        ).format(
            stage=_STAGE,
            differs=sql.SQL(" or ").join(
                sql.SQL("l.{} is distinct from ({})").format(sql.Identifier(n), e) for n, e in new.items()
            ),
        )
        self.keep = sql.SQL(
            "insert into mailgenius.import_changes (workspace_id, import_id, lead_id, stamp, {})"
            " select l.workspace_id, %(import_id)s, l.id, %(stamp)s, {} from {} l,{} for no key update of l"
        ).format(_names(_KEPT), sql.SQL(", ").join(sql.Identifier("l", name) for name in _KEPT), _LEADS, matching)
        self.overwrite = sql.SQL("update {} l set {}, updated_at = %(stamp)s from{}").format(
            _LEADS,
            sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(n), e) for n, e in new.items()),
            matching,
        )
