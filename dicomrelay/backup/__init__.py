"""Backup and restore of ledger, index and settings (docs/design/backup.md)."""

from dicomrelay.backup.making import Made, make
from dicomrelay.backup.restoring import Done, opened, restore_databases, restore_settings
from dicomrelay.backup.values import Manifest, Part

__all__ = ["Done", "Made", "Manifest", "Part", "make", "opened", "restore_databases", "restore_settings"]
