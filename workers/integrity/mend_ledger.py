"""Mending the ledger: bytes that are elsewhere, counts, times, and what was forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicomrelay.ledger.inventory import InstanceEntry
from dicomrelay.ledger.values import InstanceState, Stage
from workers.integrity.findings import Finding, Severity
from workers.integrity.ledger_check import IN_THE_ARCHIVE, RUNNING_FURTHEST_MS, STAGE_FURTHEST_MS
from workers.integrity.tools import Mended, Tools

_LOST = "its bytes are lost: neither the spool nor the archive has them; send the instance again"


def bytes_gone(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """The archive's file is the file, where it was read just now and has the digest; else it is listed as lost."""
    for finding in findings:
        entry = tools.rooms.ledger.inventory.instance(finding.instance_id)
        if entry is None:
            yield Mended(finding, "is no longer in the ledger")
        elif path := _archived_as(tools, entry):
            if tools.acts:
                tools.rooms.ledger.mending.point_to_archive({finding.instance_id: path}, release=True)
            yield Mended(finding, "the archive has it: its file there is the instance's file from now on")
        elif finding.severity is Severity.NOTE:
            yield Mended(finding, "nothing is to be done with it")
        else:
            if tools.acts:
                tools.rooms.ledger.mending.list_as_lost([finding.instance_id], _LOST)
            # Until its file was read, all that was known is that it is there.
            read = "the archive's file holds other bytes: " if finding.words == IN_THE_ARCHIVE else ""
            yield Mended(finding, f"{read}listed as lost; send the instance again", done=False)


def _archived_as(tools: Tools, entry: InstanceEntry) -> str:
    """The path of a whole copy of the same bytes in the archive; "" when there is none."""
    archive = tools.look.archive
    if archive is None or entry.state is not InstanceState.KEPT:
        return ""
    stored = archive.known([entry.facts.sop_instance_uid]).get(entry.facts.sop_instance_uid)
    if stored is None or stored.digest != entry.facts.digest:
        return ""
    try:
        return stored.relative_path if archive.digest_of(stored) == stored.digest else ""
    except OSError:
        return ""


def wrong_counts(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Counted again, in one transaction."""
    ids = [finding.instance_id for finding in findings]
    changed = set(tools.rooms.ledger.mending.count_again(ids) if tools.acts else ids)
    for finding in findings:
        yield Mended(finding, "counted again", done=finding.instance_id in changed)


def wrong_times(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Due now, or never."""
    if tools.acts:
        _set_times(tools, findings)
    for finding in findings:
        yield Mended(finding, "has the time that it should have")


def _set_times(tools: Tools, findings: Sequence[Finding]) -> None:
    mending = tools.rooms.ledger.mending
    of_transfers = [finding.transfer_id for finding in findings if finding.transfer_id]
    running = [finding.transfer_id for finding in findings if finding.words.startswith("is running")]
    mending.wake_transfers(running, furthest_ms=RUNNING_FURTHEST_MS)
    others = sorted(set(of_transfers) - set(running))
    mending.wake_transfers(others, furthest_ms=tools.look.longest_wait_ms)
    mending.wake_stages(
        [finding.instance_id for finding in findings if finding.instance_id], furthest_ms=STAGE_FURTHEST_MS
    )


def no_way(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Let it go on: a transfer is ready again, its destination is asked, a study waits to be grouped."""
    mending = tools.rooms.ledger.mending
    transfers = [finding.transfer_id for finding in findings if finding.transfer_id]
    if tools.acts:
        mending.wake_transfers(transfers, furthest_ms=tools.look.longest_wait_ms)
        mending.ask_again(transfers)
        mending.let_group([finding.study_instance_uid for finding in findings if not finding.transfer_id])
    for finding in findings:
        yield Mended(finding, "goes on")


def no_stage(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """Let it be archived, or its frames be looked for."""
    for finding in findings:
        entry = tools.rooms.ledger.inventory.instance(finding.instance_id)
        if entry is None:
            yield Mended(finding, "is no longer in the ledger")
            continue
        stage = Stage.FRAMES if entry.facts.archive_path else Stage.ARCHIVE
        if tools.acts:
            tools.rooms.ledger.mending.redo_stage([finding.instance_id], stage)
        yield Mended(finding, f"is due for {stage.value} now")


def disagrees(tools: Tools, findings: Sequence[Finding]) -> Iterator[Mended]:
    """The archive knows it under another path, or not at all: then it is archived again, where the spool has it."""
    archive, mending = tools.look.archive, tools.rooms.ledger.mending
    for finding in findings:
        entry = tools.rooms.ledger.inventory.instance(finding.instance_id)
        if entry is None or archive is None:
            continue
        stored = archive.known([finding.sop_instance_uid]).get(finding.sop_instance_uid)
        if stored is not None and stored.digest == entry.facts.digest:
            if tools.acts:
                mending.point_to_archive({finding.instance_id: stored.relative_path}, release=False)
            yield Mended(finding, "the ledger has the archive's path")
        elif stored is None and entry.released_ms_ago is None:
            if tools.acts:
                mending.redo_stage([finding.instance_id], Stage.ARCHIVE)
            yield Mended(finding, "is archived again from the spool")
        else:
            words = (
                "both are somebody's image: compare them"
                if stored
                else "its spool item is released: restore the archive"
            )
            yield Mended(finding, f"nothing was done: {words}", done=False)
