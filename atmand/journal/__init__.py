"""The journal: every record that can change a decision, and the audit of decisions, durable and in order."""

from atmand.journal.files import DirectoryLock
from atmand.journal.opening import Opened
from atmand.journal.reader import Session, read, sessions
from atmand.journal.retention import Pruned, prune
from atmand.journal.segment import JournalError
from atmand.journal.settings import JournalSettings
from atmand.journal.sidecars import Sidecars
from atmand.journal.writer import Health, JournalWriter

__all__ = [
    "DirectoryLock",
    "Health",
    "JournalError",
    "JournalSettings",
    "JournalWriter",
    "Opened",
    "Pruned",
    "Session",
    "Sidecars",
    "prune",
    "read",
    "sessions",
]
