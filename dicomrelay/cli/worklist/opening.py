"""The worklist of a home, for commands, and how its items are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.dicom.uids import is_valid_uid
from dicomrelay.runtime import home
from dicomrelay.scheduling.worklist import Worklist
from dicomrelay.scheduling.worklist_change import OrderKey
from dicomrelay.settings import Settings

_ID: Final = re.compile("[0-9a-f]{32}")


@contextmanager
def opened_worklist(settings: Settings) -> Iterator[Worklist]:
    """The worklist that is there; none is made.

    Raises
    ------
    ConfigurationError, ServiceUnavailable
        As `opened_ledger`: nothing has run in this home yet, or the ledger is gone.
    """
    with opened_ledger(settings):
        worklist = Worklist.open(home.ledger_url(settings))
        try:
            yield worklist
        finally:
            worklist.dispose()


def key_of(name: str) -> OrderKey:
    """What an ITEM of the command line names: an id, a UID, or else an accession number."""
    if _ID.fullmatch(name):
        return OrderKey(id=name)
    if "." in name and is_valid_uid(name):
        return OrderKey(study_instance_uid=name)
    return OrderKey(accession_number=name)


def items(count: int) -> str:
    """Such as "3 items"."""
    return f"{count} item{'' if count == 1 else 's'}"
