"""The sentences that must hold (docs/design/integrity.md has how each is verified and mended; a test compares the two)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Invariant(StrEnum):
    """The name of each."""

    SPOOL_IDENTITY = "spool.identity"
    SPOOL_NAME = "spool.name"
    SPOOL_RECORD = "spool.record"
    SPOOL_BYTES = "spool.bytes"
    SPOOL_PLACE = "spool.place"
    SPOOL_SOURCE = "spool.source"
    SPOOL_CORRUPT = "spool.corrupt"
    SPOOL_LEFTOVERS = "spool.leftovers"
    SPOOL_REPORTS = "spool.reports"
    LEDGER_DATABASE = "ledger.database"
    LEDGER_KNOWN = "ledger.known"
    LEDGER_BYTES = "ledger.bytes"
    LEDGER_FACTS = "ledger.facts"
    LEDGER_ASIDE = "ledger.aside"
    LEDGER_RELEASED = "ledger.released"
    LEDGER_COUNTS = "ledger.counts"
    LEDGER_DUE = "ledger.due"
    LEDGER_WAY = "ledger.way"
    LEDGER_STAGES = "ledger.stages"
    LEDGER_EVIDENCE = "ledger.evidence"
    ARCHIVE_INDEX = "archive.index"
    ARCHIVE_AGREES = "archive.agrees"
    ARCHIVE_FILE = "archive.file"
    ARCHIVE_BYTES = "archive.bytes"
    ARCHIVE_KNOWN = "archive.known"
    ARCHIVE_ASIDE = "archive.aside"
    ARCHIVE_FRAMES = "archive.frames"
    ARCHIVE_LEFTOVERS = "archive.leftovers"
    ARCHIVE_UNLISTED = "archive.unlisted"


# What it says, and what to do where it does not hold and `repair` cannot mend it, or mends it.
WORDS: Final[dict[Invariant, tuple[str, str]]] = {
    Invariant.SPOOL_IDENTITY: (
        "The spool says its name, and the ledger knows what lies in it under that name.",
        "`dicomrelay repair` writes it again as the ledger has it; else write it into spool/identity, from a backup",
    ),
    Invariant.SPOOL_NAME: (
        "Every file in new/, kept/ and aside/ is named by an id of ours.",
        "`dicomrelay repair` moves it to corrupt/",
    ),
    Invariant.SPOOL_RECORD: (
        "Every item has a record with the right CRC, of the id that its name says, and is as long as the record says.",
        "`dicomrelay repair` moves it to corrupt/; look at the disk. Send it again unless the archive has a copy of its own",
    ),
    Invariant.SPOOL_BYTES: (
        "Every item's data set has the digest of its record.",
        "`dicomrelay repair` moves it to corrupt/; look at the disk. Send it again unless the archive has a copy of its own",
    ),
    Invariant.SPOOL_PLACE: (
        "A kept item lies in the bucket of its id, and has one place.",
        "`dicomrelay repair` moves it there",
    ),
    Invariant.SPOOL_SOURCE: (
        "A file that is read where it lies is there, as long as its record says.",
        "put the file back as it was submitted, or cancel its job",
    ),
    Invariant.SPOOL_CORRUPT: (
        "Nothing is in corrupt/.",
        "`dicomrelay repair` puts back what is whole after all; send the others again, then remove the files",
    ),
    Invariant.SPOOL_LEFTOVERS: (
        "Nothing of a dead process lies about.",
        "the next start of the gateway clears it away, and so does `dicomrelay repair`",
    ),
    Invariant.SPOOL_REPORTS: (
        "Every report of storage commitment that waits in reports/ is as it was written.",
        "`dicomrelay repair` moves it to corrupt/; what it was about is asked again",
    ),
    Invariant.LEDGER_DATABASE: (
        "The database is sound and of this version.",
        "stop the relay and run `dicomrelay repair`, or restore the database from a backup",
    ),
    Invariant.LEDGER_KNOWN: (
        "Every kept and every set-aside item is in the ledger.",
        "`dicomrelay repair` registers it, and so does the next start of the relay",
    ),
    Invariant.LEDGER_BYTES: (
        "The bytes of every instance are where the ledger says: in the spool until it is released, in the archive from then on.",
        "`dicomrelay repair` points the ledger at the archive where that has them; else send the instance again",
    ),
    Invariant.LEDGER_FACTS: (
        "An instance's row says what the record of its spool item says.",
        "`dicomrelay repair` writes what the record says",
    ),
    Invariant.LEDGER_ASIDE: (
        "An item lies in aside/ if and only if its instance is set aside.",
        "`dicomrelay repair` moves the item",
    ),
    Invariant.LEDGER_RELEASED: (
        "A released item is no longer in the spool.",
        "the next start of the relay removes it; `dicomrelay repair` looks at the archive's copy before it does",
    ),
    Invariant.LEDGER_COUNTS: (
        "all_deliveries and open_deliveries of an instance are what its deliveries say.",
        "`dicomrelay repair` counts again",
    ),
    Invariant.LEDGER_DUE: (
        "What is ready, running or waiting has a time at which it is looked at, not absurdly far ahead; what is over has none.",
        "`dicomrelay repair` makes it due now, or never; look at the clock of the database's machine",
    ),
    Invariant.LEDGER_WAY: (
        "Every delivery that is not over goes on by itself or is listed.",
        "`dicomrelay repair` lets it go on",
    ),
    Invariant.LEDGER_STAGES: (
        "What the archive is to have is archived, or that is still to be done, or it is listed.",
        "`dicomrelay repair` lets it be done",
    ),
    Invariant.LEDGER_EVIDENCE: (
        "Every chain of evidence is whole, and ends where its study says.",
        "somebody wrote into the database: compare with reports that were given out (`dicomrelay report --verify`)",
    ),
    Invariant.ARCHIVE_INDEX: (
        "The archive's index is sound.",
        "stop the relay and run `dicomrelay repair`: it is made again from the files",
    ),
    Invariant.ARCHIVE_AGREES: (
        "What the ledger calls archived is in the archive's index, with the same digest.",
        "`dicomrelay repair` archives it again from the spool, or corrects the path",
    ),
    Invariant.ARCHIVE_FILE: (
        "Every instance of the index has its file, as long as the index says.",
        "`dicomrelay repair` puts it back from the spool or from lost+found/; else restore the file, or send the instance again",
    ),
    Invariant.ARCHIVE_BYTES: (
        "Every stored file's data set has the digest of the index.",
        "`dicomrelay repair` puts back a copy that the spool has of its own; else restore it or send it again. Look at the disk",
    ),
    Invariant.ARCHIVE_KNOWN: (
        "Every stored file is in the index.",
        "`dicomrelay repair` puts it into the index, or moves it to lost+found/",
    ),
    Invariant.ARCHIVE_ASIDE: (
        "What the archive set aside is there, with the digest that it had.",
        "restore the file, or send those bytes again: the archive sets them aside again. Look at the disk",
    ),
    Invariant.ARCHIVE_FRAMES: (
        "What has frames has a frame index that fits the stored file.",
        "`dicomrelay repair` lets it be made again",
    ),
    Invariant.ARCHIVE_LEFTOVERS: (
        "No half-written file is older than an hour.",
        "`dicomrelay repair` removes it",
    ),
    Invariant.ARCHIVE_UNLISTED: (
        "Every instance of the archive is in the ledger.",
        "`dicomrelay repair` takes it into the ledger as archived; nothing is sent",
    ),
}
