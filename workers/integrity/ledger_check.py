"""The ledger against itself, and against the bytes that it says are there. Page by page, in the order of keys."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from dicomrelay.dicom.file_names import component
from dicomrelay.errors import ArchiveError, SpoolCorrupt, SpoolError
from dicomrelay.ledger.evidence_check import ChainCheck
from dicomrelay.ledger.inventory import Chain, InstanceEntry, StageEntry, TransferEntry
from dicomrelay.ledger.values import InstanceState
from workers.integrity.findings import Finding, Severity
from workers.integrity.invariants import Invariant
from workers.integrity.looking import AGAIN_S, Look

# A lease lasts 30 s and a retry in the house five minutes: an hour ahead, the clock of the database was wrong.
STAGE_FURTHEST_MS = 3_600_000
RUNNING_FURTHEST_MS = 600_000
IN_THE_ARCHIVE = "its spool item is gone; the archive has it"
_ACTIVE = frozenset({"ready", "running", "waiting"})


def check_ledger(look: Look) -> Iterator[Finding]:
    """Instances, transfers, studies and evidence; see docs/design/integrity.md, `ledger.*`."""
    if look.ledger is None:
        return
    counts = look.ledger.counts()
    done = 0
    for page in look.ledger.instances():
        for entry in page:
            yield from _counts(entry)
            yield from _stages(entry)
        yield from _bytes(look, page)
        yield from _archived(look, page)
        done += len(page)
        look.tick("ledger: instances", done, max(done, counts.instances), 0)
    done = 0
    for transfers in look.ledger.transfers():
        for transfer in transfers:
            yield from _transfer(transfer, look.longest_wait_ms)
        done += len(transfers)
        look.tick("ledger: transfers", done, max(done, counts.transfers), 0)
    for study, left in look.ledger.forgotten():
        words = f"{left} deliveries have no transfer, and nobody will make one"
        yield Finding(Invariant.LEDGER_WAY, study, words, study_instance_uid=study)
    yield from _evidence(look, counts.studies)


def _about(
    invariant: Invariant, entry: InstanceEntry, words: str, severity: Severity = Severity.FAULT
) -> Finding:
    facts = entry.facts
    return Finding(
        invariant,
        facts.sop_instance_uid,
        words,
        severity,
        spool_id=facts.spool_id,
        instance_id=facts.instance_id,
        sop_instance_uid=facts.sop_instance_uid,
        study_instance_uid=facts.study_instance_uid,
    )


def _counts(entry: InstanceEntry) -> Iterator[Finding]:
    if entry.released_ms_ago is not None:
        return  # what was delivered long ago may be pruned
    is_right = entry.all_deliveries == entry.counted and entry.open_deliveries == entry.counted_open
    if not is_right:
        yield _about(
            Invariant.LEDGER_COUNTS,
            entry,
            f"says {entry.all_deliveries} deliveries, {entry.open_deliveries} of them open; "
            f"there are {entry.counted}, {entry.counted_open} of them open",
        )


def _stages(entry: InstanceEntry) -> Iterator[Finding]:
    if entry.state is not InstanceState.KEPT:
        return
    archived = bool(entry.facts.archive_path)
    if entry.archive_wanted and not archived and (entry.archiving is None or entry.archiving.state == "done"):
        yield _about(Invariant.LEDGER_STAGES, entry, "is to be archived, and nobody will do it")
    if archived and entry.framing is None:
        yield _about(Invariant.LEDGER_STAGES, entry, "is archived, and nobody will look for its frames")
    for name, stage in (("archiving", entry.archiving), ("frames", entry.framing)):
        if stage is not None and (words := _wrong_time(stage)):
            yield _about(Invariant.LEDGER_DUE, entry, f"{name}: {words}")


def _wrong_time(stage: StageEntry) -> str:
    if stage.state == "pending":
        if stage.due_in_ms is None:
            return "is to be done, and never due"
        if stage.due_in_ms > STAGE_FURTHEST_MS:
            return f"is due in {stage.due_in_ms // 60_000} minutes"
    elif stage.due_in_ms is not None:
        return f"is {stage.state}, and due"
    return ""


def _transfer(transfer: TransferEntry, longest_wait_ms: int) -> Iterator[Finding]:
    about = f"transfer {transfer.id}"
    words, invariant = "", Invariant.LEDGER_DUE
    if transfer.state in _ACTIVE:
        furthest = RUNNING_FURTHEST_MS if transfer.state == "running" else longest_wait_ms
        if transfer.due_in_ms is None:
            words = f"is {transfer.state}, and never due"
        elif transfer.due_in_ms > furthest:
            words = f"is {transfer.state}, and due in {transfer.due_in_ms // 60_000} minutes"
    elif transfer.due_in_ms is not None:
        words = f"is {transfer.state}, and due"
    elif transfer.state == "done" and transfer.to_do:
        words, invariant = f"is done, and {transfer.to_do} of its deliveries are not", Invariant.LEDGER_WAY
    if not words and transfer.unconfirmed and not transfer.is_asked:
        invariant = Invariant.LEDGER_WAY
        words = f"has {transfer.unconfirmed} deliveries to be confirmed, and nobody will ask"
    if words:
        yield Finding(
            invariant,
            about,
            f"{words} (to {transfer.destination})",
            study_instance_uid=transfer.study_instance_uid,
            transfer_id=transfer.id,
        )


def _bytes(look: Look, page: Sequence[InstanceEntry]) -> Iterator[Finding]:
    """Those whose bytes must be in this spool, and those whose bytes are nowhere by the ledger's own word."""
    missing = [entry for entry in page if must_be_here(look, entry) and not _is_here(look, entry)]
    if missing:
        # A release marks first and removes then; a copy that takes another's place is in the ledger before it moves.
        time.sleep(AGAIN_S)
    for entry in missing:
        now = look.ledger.instance(entry.facts.instance_id) if look.ledger else None
        if now is not None and must_be_here(look, now) and not _is_here(look, now):
            yield lost(look, now)
    for entry in page:
        gone = entry.released_ms_ago is not None and not entry.facts.archive_path
        if gone and entry.open_deliveries and entry.state is InstanceState.KEPT:
            yield _about(
                Invariant.LEDGER_BYTES,
                entry,
                "was released, is not archived, and is still to be sent: its bytes are nowhere",
            )


def lost(look: Look, entry: InstanceEntry) -> Finding:
    """What is to be said of an instance whose spool item is gone."""
    if entry.state is InstanceState.KEPT and _is_archived(look, entry):
        return _about(Invariant.LEDGER_BYTES, entry, IN_THE_ARCHIVE)
    waits = entry.archiving is not None and entry.archiving.state == "pending"
    if entry.open_deliveries or waits or entry.state is not InstanceState.KEPT:
        return _about(Invariant.LEDGER_BYTES, entry, "lost: its spool item is gone, and nobody else has it")
    words = "its spool item is gone, and it is not archived; nothing is to be done with it any more"
    return _about(Invariant.LEDGER_BYTES, entry, words, Severity.NOTE)


def _is_archived(look: Look, entry: InstanceEntry) -> bool:
    """Whether the archive has the bytes: by its index and the size of its file; with every byte read, by those."""
    if look.archive is None:
        return False
    stored = look.archive.known([entry.facts.sop_instance_uid]).get(entry.facts.sop_instance_uid)
    if stored is None or stored.digest != entry.facts.digest:
        return False
    try:
        if look.archive.size_of(stored) != stored.file_bytes:
            return False
        return not look.read_data or look.archive.digest_of(stored) == stored.digest
    except (OSError, ArchiveError):
        return False


def must_be_here(look: Look, entry: InstanceEntry) -> bool:
    """Whether the ledger says that its bytes are in this spool."""
    return look.spool is not None and entry.released_ms_ago is None and entry.facts.host == look.host


def _is_here(look: Look, entry: InstanceEntry) -> bool:
    assert look.spool is not None  # noqa: S101 - for the type checker
    try:
        look.spool.find(entry.facts.spool_id)
    except SpoolCorrupt:
        return False
    except SpoolError:
        return True  # it cannot be looked at now, which the check of the spool tells
    return True


def _archived(look: Look, page: Sequence[InstanceEntry]) -> Iterator[Finding]:
    """What the ledger calls archived, by the index's word."""
    if look.archive is None:
        return
    archived = [entry for entry in page if entry.facts.archive_path]
    known = look.archive.known([entry.facts.sop_instance_uid for entry in archived])
    missing = [e.facts.sop_instance_uid for e in archived if e.facts.sop_instance_uid not in known]
    removed = look.archive.removed(missing) if missing else set()
    for entry in archived:
        stored = known.get(entry.facts.sop_instance_uid)
        if stored is None:
            if (entry.facts.sop_instance_uid, entry.facts.digest) in removed:
                continue  # by retention, or by somebody who said why
            words = "is archived by the ledger's word, and the archive's index does not know it"
        elif stored.digest != entry.facts.digest:
            words = "the archive has other bytes under its UID"
        elif stored.relative_path != entry.facts.archive_path:
            words = (
                f"the ledger has another path for {component(stored.sop_instance_uid)}.dcm than the archive"
            )
        else:
            continue
        yield _about(Invariant.ARCHIVE_AGREES, entry, words)


def _evidence(look: Look, total: int) -> Iterator[Finding]:
    """Every chain, hash by hash; one finding a study."""
    assert look.ledger is not None  # noqa: S101 - for the type checker
    study: Chain | None = None
    follow, wrong, done = ChainCheck(""), "", 0
    for chain, row in look.ledger.evidence():
        if study is None or chain.study_instance_uid != study.study_instance_uid:
            yield from _ended(study, follow, wrong)
            study, wrong = chain, ""
            follow = ChainCheck(chain.study_instance_uid, pruned=chain.pruned, pruned_hash=chain.pruned_end)
            done += 1
            look.tick("ledger: evidence", done, max(done, total), 0)
        if row is not None:
            wrong = wrong or follow.take(row)
    yield from _ended(study, follow, wrong)


def _ended(study: Chain | None, follow: ChainCheck, wrong: str) -> Iterator[Finding]:
    if study is None:
        return
    uid = study.study_instance_uid
    if words := wrong or follow.end(study.count, study.end):
        yield Finding(Invariant.LEDGER_EVIDENCE, uid, words, study_instance_uid=uid)
