"""Backup and restore of ledger, index and settings (docs/design/backup.md)."""

from dicomrelay.backup.making import Made, make
from dicomrelay.backup.restoring import Done, opened, refuse_while_up, restore_databases
from dicomrelay.backup.restoring_files import restore_settings, restore_trail
from dicomrelay.backup.values import Manifest, Part

__all__ = [
    "Done",
    "Made",
    "Manifest",
    "Part",
    "make",
    "opened",
    "refuse_while_up",
    "restore_databases",
    "restore_settings",
    "restore_trail",
]
