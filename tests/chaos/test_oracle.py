"""The oracle finds what is planted: an instance that is missing, changed, doubled or made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.figures import Figure, Row, Verdict, percentile, read, write
from chaos.oracle import Account, Copy, Findings, judge

_OFFERED = {f"1.2.{number}": f"digest{number}" for number in range(5)}
_ALL = [Copy(uid, digest) for uid, digest in _OFFERED.items()]


def _judged(**changes: object) -> Account:
    """Of five instances that are at both destinations, but for the changes."""
    found: dict[str, object] = {
        "offered": _OFFERED,
        "acknowledged": set(_OFFERED),
        "arrived": {"north": _ALL, "south": _ALL},
    }
    return judge(Findings(**{**found, **changes}))  # type: ignore[arg-type]


def test_all_that_arrived_once_is_a_clean_account() -> None:
    """Nothing is counted."""
    account = _judged()

    assert account == Account(offered=5, acknowledged=5)
    assert account.is_clean


def test_an_instance_that_is_nowhere_is_lost() -> None:
    """And is not told as undelivered too."""
    account = _judged(arrived={"north": _ALL[1:], "south": _ALL[1:]})

    assert (account.lost, account.undelivered) == (1, 0)
    assert not account.is_clean


def test_an_acknowledgement_that_never_was_is_found() -> None:
    """The control of the senders: one that counts what was not acknowledged makes the oracle cry."""
    assert _judged(offered={**_OFFERED, "1.2.9": "x"}, acknowledged={*_OFFERED, "1.2.9"}).lost == 1


def test_what_is_still_in_the_spool_is_not_lost_but_not_delivered() -> None:
    """Unless it is listed as needing attention."""
    short = {"north": _ALL[1:], "south": _ALL}
    held = _ALL[:1]

    assert (_judged(arrived=short, held=held).lost, _judged(arrived=short, held=held).undelivered) == (0, 1)
    assert _judged(arrived=short, held=held, listed={"north": {"1.2.0"}}).is_clean
    assert not _judged(arrived=short, held=held, listed={"south": {"1.2.0"}}).is_clean


def test_what_was_not_acknowledged_may_be_anywhere_or_nowhere() -> None:
    """The peer sends it again."""
    account = _judged(acknowledged={"1.2.4"}, arrived={"north": _ALL[4:]})

    assert account.is_clean


def test_other_bytes_are_corrupt_and_do_not_count_as_arrived() -> None:
    """Also in the spool."""
    changed = [Copy("1.2.0", "other"), *_ALL[1:]]

    assert _judged(arrived={"north": changed, "south": _ALL}).corrupt == 1
    assert _judged(arrived={"north": changed, "south": _ALL}).undelivered == 1
    assert _judged(arrived={"north": changed}).lost == 1
    assert _judged(held=changed).corrupt == 1
    assert _judged(put_away=1).corrupt == 1


def test_what_nobody_sent_is_a_phantom() -> None:
    """Whatever its bytes are."""
    assert _judged(arrived={"north": [*_ALL, Copy("1.2.9", "x")], "south": _ALL}).phantom == 1


def test_a_second_arrival_is_a_duplicate_and_keeps_the_promise() -> None:
    """Counted for each destination."""
    account = _judged(arrived={"north": [*_ALL, _ALL[0], _ALL[0]], "south": [*_ALL, _ALL[1]]})

    assert account.duplicates == 3
    assert account.is_clean


def test_accounts_add_up() -> None:
    """Count by count."""
    total = Account(offered=2, lost=1) + Account(offered=3, refused=4)

    assert total == Account(offered=5, lost=1, refused=4)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("R1", "t", 3, "kills", 1, Account()), Verdict.KEPT),
        (Row("R1", "t", 3, "kills", 1, Account(lost=1)), Verdict.MISSED),
        (Row("R1", "t", 3, "kills", 1, Account(), (Figure("x", 2, bar=1),)), Verdict.MISSED),
        (Row("R1", "t", 3, "kills", 1, Account(), (Figure("x", 2, bar=3, at_least=True),)), Verdict.MISSED),
        (Row("R1", "t", 3, "kills", 1, Account(), control="none lost", control_found=False), Verdict.MISSED),
        (Row("R1", "t", 0, "kills", 1, skipped="no loop device"), Verdict.SKIPPED),
    ],
)
def test_a_row_keeps_its_bars_or_not(row: Row, verdict: Verdict) -> None:
    """A control that finds nothing misses too: the experiment is blind."""
    assert row.verdict is verdict


def test_the_bound_is_three_over_the_number_of_trials() -> None:
    """And none when something was lost, or nothing was counted."""
    assert Row("R1", "t", 300, "kills", 1).bound is None
    assert Row("R1", "t", 300, "kills", 1, Account()).bound == 0.01
    assert Row("R1", "t", 1, "kills", 1, Account()).bound == 1.0
    assert Row("R1", "t", 300, "kills", 1, Account(lost=1)).bound is None


def test_rows_are_what_they_were_after_a_file(tmp_path: Path) -> None:
    """In the order of their numbers."""
    rows = {
        "R11": Row(
            "R11",
            "cut",
            2,
            "cuts",
            7,
            Account(offered=1),
            (Figure("x", 1.5, "s", 2.0), Figure("y", float("inf"))),
            "lost 3",
        ),
        "R3": Row("R3", "kill", 2, "kills", 7),
    }
    write(tmp_path / "rows.json", rows)

    assert read(tmp_path / "rows.json") == rows
    assert list(read(tmp_path / "rows.json")) == ["R3", "R11"]
    assert read(tmp_path / "none.json") == {}


def test_a_percentile_is_one_of_the_values() -> None:
    """The one that so many do not exceed."""
    assert percentile([3, 1, 2, 4], 0.5) == 3
    assert percentile(range(100), 0.99) == 99
    assert percentile([5], 0.99) == 5
