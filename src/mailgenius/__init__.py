"""mailgenius: email-marketing back ends with millions of leads."""

from mailgenius.address import EmailCheck, EmailChecks, validate_email, validate_emails

__all__ = ["EmailCheck", "EmailChecks", "validate_email", "validate_emails"]
