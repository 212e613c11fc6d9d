"""Every exception mailgenius raises on purpose. The class says what the caller can do; the text says how to mend it.

Rows that cannot be imported are not exceptions: they are counted and reported (``ImportReport``).
"""


class MailgeniusError(Exception):
    """Base of all errors raised by mailgenius."""


class ConfigError(MailgeniusError, ValueError):
    """A setting is unknown, contradictory or out of range. The text starts with its path, as in ``$.pool.min_size``."""


class ServerError(MailgeniusError):
    """An embedded server could not be started, reached or stopped."""


class DatabaseUnavailable(MailgeniusError):
    """PostgreSQL could not be reached, or the connection was lost and did not come back in time. Try again later."""


class OutcomeUnknown(DatabaseUnavailable):
    """The connection was lost while a statement ran: it may have been applied or not. Look before you repeat it."""


class QueryTimeout(MailgeniusError, TimeoutError):
    """A statement took longer than its timeout and was cancelled on the server. Nothing of it is left."""


class LoadFailed(MailgeniusError):
    """The load of a cached value ended without one: it was cancelled or interrupted, or loads wait for one another."""


class LoadTimeout(LoadFailed, TimeoutError):
    """The load of a cached value took longer than its hard timeout. Nothing was stored."""


class WriteBehindFull(MailgeniusError):
    """As many writes wait for the database as may. This one was not accepted; slow down, and look at the flusher."""


class FlushTimeout(MailgeniusError, TimeoutError):
    """What was accepted is not in the database yet. Nothing is lost: it waits."""


class QueueFull(MailgeniusError):
    """As many jobs wait as the queue's policy allows. Nothing was added; slow down, or start more workers."""


class JobFailed(MailgeniusError):
    """Raised by a handler: the job cannot succeed. It is not tried again, whatever its attempts. Raised to who asks for the
    result of a job that is dead: the text says why."""


class JobRetry(MailgeniusError):
    """Raised by a handler: the job is to be tried again after ``after`` seconds instead of the pause that its backoff says.
    ``counts``: as one of its attempts; if not, it may go on for ever."""

    def __init__(self, message: str = "", *, after: float, counts: bool = True) -> None:
        if not 0 <= after <= 365 * 86_400:
            raise ValueError(f"after is a number of seconds, up to a year, not {after!r}")
        super().__init__(message or f"to be tried again after {after:g} s")
        self.after, self.counts = after, counts


class JobTimeout(MailgeniusError, TimeoutError):
    """A job took longer than its timeout. It is tried again as after any other error."""


class JobCancelled(MailgeniusError):
    """A job was removed while it ran. It is not tried again."""


class ResultTimeout(MailgeniusError, TimeoutError):
    """The job whose result was asked for has not ended yet."""


class RedisUnavailable(MailgeniusError):
    """Redis could not be reached, is not ready, or too many calls wait for it. Nothing was done, unless the class says
    otherwise. Go on without it; the client looks for it in the background."""


class RedisTimeout(RedisUnavailable, TimeoutError):
    """A call's deadline passed before its reply came. The server may carry it out all the same."""


class RedisOutcomeUnknown(RedisUnavailable):
    """The connection was lost before the reply came: the command may have been carried out or not. Look before you repeat
    it."""


class RedisRefused(MailgeniusError):
    """The server's error reply. ``code`` is its first word, such as ``WRONGTYPE``, ``OOM``, ``NOPERM``."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class SchemaError(MailgeniusError):
    """The database schema is missing, older or newer than this version needs (run ``mailgenius migrate``), or the role may
    not change it."""


class SourceError(MailgeniusError):
    """The input as a whole cannot be read: missing, a folder, no e-mail column, changed while read, too large."""


class ImportFailed(MailgeniusError):
    """The import stopped. ``import_id`` can be given to ``resume`` (or ``undo``); nothing is half done."""

    def __init__(self, message: str, *, import_id: int | None = None) -> None:
        super().__init__(message)
        self.import_id = import_id


class ImportConflict(ImportFailed):
    """``on_existing="fail"`` met leads that are already there; nothing was imported."""


class ImportBusy(ImportFailed):
    """Another process is running this import."""


class NotFound(MailgeniusError, LookupError):
    """There is no such workspace, import or lead."""
