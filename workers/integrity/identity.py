"""The name of the spool: whether the file that holds it can be read, and is the one the ledger has (docs/design/integrity.md)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.inventory import Inventory
from dicomrelay.ledger.texts import storable
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from dicomrelay.spool.layout import Layout
from workers.integrity.findings import Finding
from workers.integrity.invariants import Invariant
from workers.integrity.spool_check import places
from workers.integrity.tools import Mended, refuse_beside_the_relay

# Of one spool all have one name: some of them tell it.
_ASKED: Final = 1000
_FILE: Final = "identity"


def check_identity(settings: Settings, ledger: Inventory | None) -> Iterator[Finding]:
    """What is wrong with `spool/identity`; one finding, or none. Without a ledger only whether it holds a name at all."""
    path = settings.path("spool", _FILE)
    known = _names_here(settings, ledger)
    if not path.exists():
        if known or (ledger is not None and ledger.hosts()):
            yield _finding(settings, "is gone, and the ledger knows items of this spool")
        return
    try:
        name = home.known_spool_name(settings)
    except ConfigurationError:
        yield _finding(settings, "holds no name of a spool: no task that needs it starts")
        return
    except OSError as error:
        yield _finding(settings, f"cannot be read: {error.strerror}")
        return
    if known and name not in known:
        words = f"holds {name}, and the ledger knows what lies here under {', '.join(sorted(known))}"
        yield _finding(settings, words)


def mend_identity(settings: Settings, ledger: Inventory, finding: Finding, *, dry_run: bool) -> Mended:
    """Write the name again: the one of the items that lie here, or of the only spool of the ledger.

    A new one only where the ledger knows no instance at all: what is registered under the old name would be nobody's work.

    Raises
    ------
    ConfigurationError
        A new name is to be made, and the relay runs: its processes still go by the old one.
    """
    names = _names_here(settings, ledger)
    everywhere = ledger.hosts()
    if not names and settings.database.url.get_secret_value() == "embedded":
        names = everywhere  # nobody else writes to this ledger
    if len(names) == 1:
        (name,) = names
        if not dry_run:
            home.write_spool_name(settings, name)
        return Mended(finding, f"written again: {name}, as the ledger has it")
    if names or everywhere:
        which = ", ".join(sorted(names or everywhere))
        words = (
            f"nothing was done: the ledger knows {which}, and nobody here can say which it is: {finding.do}"
        )
        return Mended(finding, words, done=False)
    refuse_beside_the_relay(settings, "the spool has lost its name and gets a new one")
    if not dry_run:
        settings.path("spool", _FILE).unlink(missing_ok=True)
        home.spool_name(settings)
    return Mended(finding, "a new name is made: the ledger knows no instance")


def _names_here(settings: Settings, ledger: Inventory | None) -> set[str]:
    """The names under which the ledger knows what is settled here, as far as it knows it."""
    if ledger is None:
        return set()
    settled = (place for place in places(Layout(settings.path("spool"))) if place.is_settled)
    ids = [storable(place.path.stem) for place in islice(settled, _ASKED)]
    return {entry.facts.host for entry in ledger.by_spool_id(ids).values()}


def _finding(settings: Settings, words: str) -> Finding:
    return Finding(Invariant.SPOOL_IDENTITY, _FILE, words, path=settings.path("spool", _FILE))
