"""How much may be said of performed procedure steps: by the peers of an entry in a day, and while the disk has room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dicomrelay.errors import SpoolFull
from dicomrelay.net.service import AssociationInfo
from dicomrelay.settings import Settings
from scp_gateway.performed import StepBounds

MEGABYTE = 1_000_000
PEERS = [{"ae_title": "CT_*", "rights": ["mpps"]}, {"ae_title": "MR_1", "rights": ["mpps"]}]


class Ledger:
    """What is counted there, and the time."""

    def __init__(self, **taken: int) -> None:
        self.counts: Mapping[str, int] = taken
        self.asked: list[int] = []
        self.now = 0.0

    def taken(self, age_ms: int) -> Mapping[str, int]:
        self.asked.append(age_ms)
        return self.counts

    def clock(self) -> float:
        return self.now


def bounds(folder: Path, ledger: Ledger, **gateway: object) -> StepBounds:
    settings = Settings(
        home=folder,
        peers=PEERS,
        gateway={"min_free_bytes": 0, **gateway},
        performed_procedure_steps={"max_bytes_per_day": 2 * MEGABYTE},
    )
    return StepBounds(settings, ledger.taken, clock=ledger.clock)


def caller(title: str) -> AssociationInfo:
    return AssociationInfo("a1", title, "OURS", "127.0.0.1", 1)


def test_the_peers_of_an_entry_share_what_they_may_say(tmp_path: Path) -> None:
    """Another title of the same entry does not help; another entry goes on, and who has none."""
    ledger = Ledger(CT_1=MEGABYTE, MR_1=MEGABYTE)
    found = bounds(tmp_path, ledger)
    found.check(caller("CT_2"), MEGABYTE)
    for title in ("CT_1", "CT_2", "CT_3"):
        with pytest.raises(SpoolFull, match=r"peers\.0 in 24 hours.*max_bytes_per_day is 2000000"):
            found.check(caller(title), 1)
    found.check(caller("MR_1"), MEGABYTE)
    found.check(caller("OTHER"), 2 * MEGABYTE)
    with pytest.raises(SpoolFull, match="peers of no entry"):
        found.check(caller("ANOTHER"), 1)
    assert ledger.asked == [86_400_000]


def test_a_day_later_there_is_room_again(tmp_path: Path) -> None:
    """The ledger is asked once a minute: what others took is counted, and what is over is not."""
    ledger = Ledger(MR_1=2 * MEGABYTE)
    found = bounds(tmp_path, ledger)
    with pytest.raises(SpoolFull):
        found.check(caller("MR_1"), 1)
    ledger.counts = {}
    ledger.now = 59
    with pytest.raises(SpoolFull):
        found.check(caller("MR_1"), 1)
    ledger.now = 60
    found.check(caller("MR_1"), 1)


def test_the_low_water_mark_comes_first(tmp_path: Path) -> None:
    """No database is asked by then; on a server's disk we ask nothing."""
    (tmp_path / "db").mkdir()
    ledger = Ledger()
    with pytest.raises(SpoolFull, match="low-water mark"):
        bounds(tmp_path, ledger, min_free_bytes=1 << 60).check(caller("CT_1"), 1)
    assert not ledger.asked
    settings = Settings(
        home=tmp_path,
        gateway={"min_free_bytes": 1 << 60},
        database={"url": "postgresql://relay@127.0.0.1/relay"},
    )
    StepBounds(settings, ledger.taken).check(caller("CT_1"), 1)
