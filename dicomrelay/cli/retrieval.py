"""What `move` and `get` share: progress of the sub-operations, what is said at the end, the exit code."""

from __future__ import annotations

from typing import Any, Final

from dicomrelay.cli.options import Invocation
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.query_options import conclusion_words
from dicomrelay.dicom.query_status import Finality, finality
from dicomrelay.errors import ExitCode
from dicomrelay.net.query_retrieve import Conclusion, Counts, Stop

_FEW: Final = 5


def show(progress: Progress, counts: Counts, note: str = "") -> None:
    """Where it stands, as far as the peer says."""
    done = (counts.completed or 0) + (counts.failed or 0) + (counts.warning or 0)
    total = None if counts.remaining is None else done + counts.remaining
    notes = [note] if note else []
    notes += [f"{number} {word}" for number, word in ((counts.failed, "failed"),) if number]
    progress.show(done, total=total, note=", ".join(notes))


def conclude(
    invocation: Invocation,
    conclusion: Conclusion | None,
    *,
    what: str,
    done: int | None = None,
    faults: int = 0,
    more: dict[str, Any] | None = None,
) -> int:
    """Say how it ended, and with which exit code.

    Parameters
    ----------
    what : str
        "moved" or "fetched".
    done : int, optional
        Instances that we have counted ourselves; by default what the peer has counted.
    faults : int
        Instances that we could not take.
    more : dict, optional
        What else belongs into the JSON.
    """
    assert conclusion is not None  # noqa: S101 - the iteration is over
    counts = conclusion.counts
    came = (counts.completed or 0) + (counts.warning or 0) if done is None else done
    failed = max(counts.failed or 0, faults, len(conclusion.failed_uids))
    code = _exit_code(conclusion, came, failed)
    words = f"{came} {what}" + "".join(
        f", {number} {word}"
        for number, word in ((failed, "failed"), (counts.warning, "with a warning"))
        if number
    )
    if finality(conclusion.status) is not Finality.SUCCESS:
        words += f"; the peer ended with: {conclusion_words(conclusion)}"
    elif not came and not failed:
        words += ": nothing matches"
    invocation.say(words)
    uids = conclusion.failed_uids
    for uid in uids[:_FEW]:
        invocation.say(f"    failed: {uid}")
    if len(uids) > _FEW:
        invocation.say(f"    and {len(uids) - _FEW} more (--json lists all)")
    if invocation.as_json:
        invocation.emit(
            {
                "status": conclusion.status,
                what: came,
                "failed": failed,
                "warnings": counts.warning or 0,
                "remaining": counts.remaining or 0,
                "failed_sop_instance_uids": list(uids),
                "comment": conclusion.comment,
                "cancelled": conclusion.stopped is not None,
                **(more or {}),
                "exit_code": int(code),
            }
        )
    return code


def _exit_code(conclusion: Conclusion, came: int, failed: int) -> ExitCode:
    if conclusion.stopped is Stop.ASKED:
        return ExitCode.INTERRUPTED
    is_well = finality(conclusion.status) is Finality.SUCCESS or conclusion.stopped is Stop.LIMIT
    return (
        ExitCode.OK
        if is_well and came and not failed and not conclusion.counts.warning
        else ExitCode.SOME_FAILED
    )
