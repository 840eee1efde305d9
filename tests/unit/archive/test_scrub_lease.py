"""The scrub's hold on a round: as long as it is at it, however slow; and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive import Archive
from archive.scrub import NOTE, Rate, Scrub, position_of, read_position
from tests.support.archive_writing import instance

FILES = 6
LEASE_MS = 15 * 60_000


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive")
    opened.store([instance(tmp_path / "in", number) for number in range(1, FILES + 1)])
    yield opened
    opened.close()


class Clock:
    """The index's, which goes on when somebody waits."""

    def __init__(self, archive: Archive) -> None:
        self._health = archive.health
        self.ms = 10_000_000

    def now_ms(self) -> int:
        return self.ms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._health, name)

    def pause(self, seconds: float) -> bool:
        self.ms += round(seconds * 1000)
        return False


def scrub(archive: Archive, clock: Clock, owner: str, *, bytes_per_s: int = 4, **more: Any) -> Scrub:
    pause = more.get("pause", clock.pause)
    return Scrub(clock, archive.storage, rate=Rate(30, bytes_per_s), owner=owner, pause=pause)  # type: ignore[arg-type]


def test_who_is_slow_holds_the_round_and_gets_on(archive: Archive) -> None:
    """A file takes four minutes: the other one finds it taken at each moment, and each batch is written down."""
    clock = Clock(archive)
    seen = []

    def pause(seconds: float) -> bool:
        clock.pause(seconds)
        held = position_of(archive.health)
        seen.append((held.owner, held.until_ms - clock.ms))
        return False

    one = scrub(archive, clock, "one", pause=pause)
    steps = [one.step() for _ in range(3)]

    assert {owner for owner, _ in seen} == {"one"}
    assert min(left for _, left in seen) > LEASE_MS / 2
    afters = [step.position.after for step in steps]
    assert afters == [2, 4, 6]
    assert scrub(archive, clock, "two").step().wait_s > 0


def test_a_large_file_does_not_outlast_the_lease(archive: Archive) -> None:
    """Of one that takes hours, too."""
    clock = Clock(archive)
    two = scrub(archive, clock, "two")
    waits = []

    def pause(seconds: float) -> bool:
        clock.pause(seconds)
        waits.append(two.step().wait_s)
        return False

    scrub(archive, clock, "one", bytes_per_s=1, pause=pause).step()

    assert len(waits) > 5
    assert min(waits) > 0


def test_who_slept_over_its_lease_writes_nothing(archive: Archive, tmp_path: Path) -> None:
    """Another one has the round; what the first one saw is old by then."""
    next((archive.layout.root / "data").rglob("*.dcm")).unlink()
    clock = Clock(archive)
    two = scrub(archive, clock, "two", bytes_per_s=10**9)
    took: list[str | None] = []

    def pause(seconds: float) -> bool:
        clock.pause(seconds)
        if not took:
            clock.ms += LEASE_MS + 1
            note = archive.health.note(NOTE)
            taken = '"owner": "two"'
            assert note is not None
            assert archive.health.record(
                (), name=NOTE, before=note, after=note.replace('"owner": "one"', taken)
            )
            took.append(archive.health.note(NOTE))
        return False

    step = scrub(archive, clock, "one", bytes_per_s=10**9, pause=pause).step()

    assert (step.found, step.wait_s) == ((), 1.0)
    assert archive.health.note(NOTE) == took[0]
    assert read_position(took[0]).owner == "two"
    assert list(archive.health.damaged()) == []
    assert [found.damage for found in two.step().found] == ["gone"]


def test_who_lost_the_round_at_its_last_word_writes_nothing(archive: Archive) -> None:
    """The batch was quick, and the round was taken before it was written down."""
    next((archive.layout.root / "data").rglob("*.dcm")).unlink()
    clock = Clock(archive)
    count = 0

    def pause(_seconds: float) -> bool:
        nonlocal count
        count += 1
        if count == FILES:  # one wait before the second look at what is gone, one for each that is there
            note = archive.health.note(NOTE)
            assert note is not None
            after = note.replace('"owner": "one"', '"owner": "two"')
            assert archive.health.record((), name=NOTE, before=note, after=after)
        return False

    step = scrub(archive, clock, "one", bytes_per_s=10**9, pause=pause).step()

    assert step.wait_s == 1.0
    assert position_of(archive.health).owner == "two"
    assert position_of(archive.health).after == 0
    assert list(archive.health.damaged()) == []
