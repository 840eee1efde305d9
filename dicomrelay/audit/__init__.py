"""Who did what, and what went where: entries in a trail, in the log, and as audit messages (docs/design/audit.md)."""

from dicomrelay.audit.auditing import Audit, Doing, this_account, trail_of
from dicomrelay.audit.values import Entry, Kind, Outcome, Party, Thing

__all__ = ["Audit", "Doing", "Entry", "Kind", "Outcome", "Party", "Thing", "this_account", "trail_of"]
