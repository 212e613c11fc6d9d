"""E-mail addresses: are they valid, what is their one normalised form, what kind of mailbox is it.

Pure but for ``load_lists``, which reads files. No server is ever asked.
"""

from mailgenius.address.batch import EmailChecks, validate_emails
from mailgenius.address.check import EmailCheck, validate_email
from mailgenius.address.files import load_lists
from mailgenius.address.idn import IdnResolver
from mailgenius.address.lists import Lists, current, use_lists

__all__ = [
    "EmailCheck",
    "EmailChecks",
    "IdnResolver",
    "Lists",
    "current_lists",
    "load_lists",
    "use_lists",
    "validate_email",
    "validate_emails",
]

current_lists = current
