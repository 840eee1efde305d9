"""What the account of a `send` says, to people and to programs."""

from __future__ import annotations

import json

from dicomrelay.cli.summary import Outcome, Result, Session
from dicomrelay.errors import ExitCode


def _result(number: int, outcome: Outcome, **more: object) -> Result:
    facts: dict[str, object] = {
        "sop_instance_uid": f"1.2.{number}",
        "study_instance_uid": "1.2",
        "destination": "pacs",
        "state": outcome.value,
        "outcome": outcome,
        "status": 0,
        "reason": "",
        "bytes": 10,
        "seconds": 0.1,
        "path": f"scans/{number}.dcm",
    }
    return Result(**{**facts, **more})  # type: ignore[arg-type]


def test_what_was_refused_is_named_by_its_file() -> None:
    """A few under each reason, all of them in the results."""
    results = [_result(n, Outcome.FAILED, status=0xC000, reason="cannot understand") for n in range(7)]
    session = Session("s", configuration={"direct": True}, results=results)
    lines = session.lines()
    assert "  7 to pacs: cannot understand" in lines
    assert [line for line in lines if line.startswith("    scans/")] == [
        f"    scans/{n}.dcm" for n in range(5)
    ]
    assert lines[-1].startswith("    and 2 more")
    rows = json.loads("".join(session.text()))["results"]
    assert [row["path"] for row in rows] == [f"scans/{n}.dcm" for n in range(7)]


def test_warnings_are_told_beside_what_was_delivered() -> None:
    """B000 is delivered, and somebody has to know of it."""
    results = [_result(0, Outcome.DELIVERED), _result(1, Outcome.DELIVERED, status=0xB000, state="warning")]
    session = Session("s", configuration={"direct": True}, results=results)
    counts = session.account()["instances"]
    assert (counts["delivered"], counts["warnings"], counts["submitted"]) == (2, 1, None)
    assert session.lines()[0].startswith("2 delivered (1 with a warning), 0 failed")


def test_what_an_interruption_kept_back_has_not_failed() -> None:
    """It is a count of its own."""
    results = [_result(0, Outcome.DELIVERED), _result(1, Outcome.NOT_SENT, reason="interrupted", status=None)]
    session = Session("s", configuration={"direct": True}, results=results, ending="interrupted")
    counts = session.account()["instances"]
    assert (counts["failed"], counts["not_sent"]) == (0, 1)
    assert "1 not sent" in session.lines()[0]
    assert session.exit_code is ExitCode.INTERRUPTED


def test_what_no_worker_has_looked_at_is_in_the_account() -> None:
    """When the relay stops, some of it lies in the spool and in no table yet: exit code 3."""
    session = Session(
        "s", configuration={}, submitted=3, unregistered=3, relay_gone="gone", ending="relay gone"
    )
    assert session.account()["instances"]["unregistered"] == 3
    assert "  3 lie in the spool and have not been looked at yet" in session.lines()
    assert session.exit_code is ExitCode.UNREACHABLE
