"""A slice of each fault of the scorecard that is tried nowhere else: a few trials, the same bars but for those of time.

R15, R16 and R17 have all their cases in `tests/integration/test_outcomes.py`, R20 in `tests/hardening`, R1 a dozen kills in
`tests/integration/test_kill_gateway.py`, R33 its own test in `tests/integration/test_up.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.figures import Row, Verdict
from chaos.scorecard import FAULTS, Run, do, said

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]
_BY_NAME = {fault.name: fault for fault in FAULTS}
# Bars of time are those of a machine that does nothing else.
_OF_TIME = ("s", "ms", "times", "/s")


def _slice(name: str, trials: int, folder: Path, *, outage_s: float = 5.0) -> Row:
    """The row of a few trials; skipped where the fault cannot be done."""
    row = do(_BY_NAME[name], Run(trials, 20261121, folder, outage_s))
    print(said(row))
    if row.skipped:
        pytest.skip(row.skipped)
    assert not row.note.startswith("not done"), row.note
    return row


def _kept(row: Row) -> bool:
    return (row.account is None or row.account.is_clean) and all(
        figure.is_met for figure in row.figures if figure.unit not in _OF_TIME
    )


@pytest.mark.parametrize(
    ("name", "trials"),
    [
        ("R2", 5),
        ("R3b", 4),
        ("R12", 5),
        ("R14", 2),
        ("R19-sender", 1),
        ("R6", 1),
        pytest.param("R10-locked", 1, marks=pytest.mark.long),
        ("R26", 40),
        ("R29", 2),
    ],
)
def test_the_promise_is_kept(name: str, trials: int, tmp_path: Path) -> None:
    """Nothing lost, corrupt, or neither delivered nor listed; the bars of the fault."""
    assert _kept(_slice(name, trials, tmp_path / name, outage_s=3.0))


@pytest.mark.long
def test_the_broker_frozen(tmp_path: Path) -> None:
    """The gateway goes on acknowledging; all arrives when the broker is back."""
    row = _slice("R8", 1, tmp_path / "R8", outage_s=4.0)

    assert _kept(row)
    rate = next(each for each in row.figures if "a second acknowledged" in each.name)
    assert rate.value > 3


def test_a_forward_worker_killed(tmp_path: Path) -> None:
    """Others take over what it had claimed."""
    row = _slice("R3", 1, tmp_path / "R3")

    assert row.account is not None
    assert row.account.is_clean
    assert row.account.listed == 0


def test_a_power_cut_and_its_control(tmp_path: Path) -> None:
    """Nothing acknowledged is gone; with flushes that do nothing, the same experiment finds losses."""
    row = _slice("R11", 3, tmp_path / "R11")

    assert _kept(row)
    assert row.control_found, row.control


def test_every_fault_has_a_name_of_its_own_and_what_was_missed_is_told() -> None:
    """The numbers of docs/design/chaos.md."""
    assert len(_BY_NAME) == len(FAULTS)
    wanted = {
        f"R{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 26, 29, 31, 33)
    }
    assert wanted <= _BY_NAME.keys()
    assert Row("R1", "t", 1, "kills", 1, None, control_found=False).verdict is Verdict.MISSED
