"""The figures of the dead stay, once, wherever a kill falls; what cannot be read hides nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dicomrelay.metrics import catalogue
from dicomrelay.metrics.cells import CellFile
from dicomrelay.metrics.families import Family
from dicomrelay.metrics.gathering import forget, gather


def leave(folder: Path, family: Family, *labels: str, figure: float = 1, service: str = "worker") -> Path:
    """A file of a process that is no more."""
    file = CellFile(folder, service)
    place = file.place((family.name, *labels), family.width)
    assert place is not None
    file.set(place, figure)
    file.close()
    return file.path


def test_counters_of_the_dead_stay_and_their_gauges_go(tmp_path: Path) -> None:
    """Else counters would fall when a child of a pool ends, and depth would count what nobody has."""
    leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=5)
    leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=2)
    leave(tmp_path, catalogue.ASSOCIATIONS_OPEN, figure=3)

    for _ in range(3):
        found = gather(tmp_path)
        assert found.of(catalogue.RECEIVED) == {("CT", "dimse"): [7]}
        assert found.of(catalogue.ASSOCIATIONS_OPEN) == {}
    assert not list(tmp_path.glob("*.cells"))


def test_an_empty_file_of_before_a_power_cut_is_no_process(tmp_path: Path) -> None:
    """Its length was not durable; who begins has one for a moment only."""
    old, new = tmp_path / "gateway.1.aa.cells", tmp_path / "worker.2.bb.cells"
    for path in (old, new):
        path.touch()
    os.utime(old, (1_700_000_000, 1_700_000_000))

    found = gather(tmp_path)

    assert not old.exists()
    assert new.exists()
    assert found.of(catalogue.PROCESSES) == {("worker",): [1]}


def test_a_kill_between_burial_and_removal_counts_nothing_twice(tmp_path: Path) -> None:
    """The file is there again, as it was when whoever gathered was killed."""
    path = leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=5)
    content = path.read_bytes()
    gather(tmp_path)
    path.write_bytes(content)

    assert gather(tmp_path).of(catalogue.RECEIVED) == {("CT", "dimse"): [5]}
    assert not path.exists()


def test_a_kill_before_burial_loses_nothing(tmp_path: Path) -> None:
    """A half-written file of the burial is nobody's."""
    leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=5)
    (tmp_path / "retired.json.123").write_text('{"series": [[', "utf-8")

    assert gather(tmp_path).of(catalogue.RECEIVED) == {("CT", "dimse"): [5]}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"series": 1, "files": []}', '{"series": [["x"]], "files": 3}']
)
def test_a_damaged_burial_begins_the_counters_anew(tmp_path: Path, content: str) -> None:
    """Which is what `rate()` expects, and nothing is raised."""
    (tmp_path / "retired.json").write_text(content, "utf-8")
    leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=5)

    assert gather(tmp_path).of(catalogue.RECEIVED) == {("CT", "dimse"): [5]}


def test_a_damaged_file_is_counted_and_hides_no_other(tmp_path: Path) -> None:
    """One figure less, and a figure that says so."""
    leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=5)
    (tmp_path / "worker.1.aa.cells").write_bytes(b"rubbish" * 100)

    for _ in range(2):
        found = gather(tmp_path)
        assert found.of(catalogue.RECEIVED) == {("CT", "dimse"): [5]}
        assert found.of(catalogue.DAMAGED_FILES) == {(): [1]}


def test_series_of_another_version_are_left_out(tmp_path: Path) -> None:
    """A family that is no more, or has other labels or bounds now."""
    for key, width in (
        (("gone_total",), 1),
        ((catalogue.RECEIVED.name, "CT"), 1),
        ((catalogue.RECEIVED.name, "CT", "dimse"), 4),
    ):
        file = CellFile(tmp_path, "worker")
        file.place(key, width)
        file.close()

    assert gather(tmp_path).samples == {}


def test_gauges_of_several_are_added_or_the_largest_counts(tmp_path: Path) -> None:
    """As the family says."""
    files = [CellFile(tmp_path, "scheduler") for _ in range(2)]
    for number, file in enumerate(files, 1):
        for family in (catalogue.WAITING, catalogue.LEDGER_ASKED):
            place = file.place((family.name, *["a"] * len(family.labels)), 1)
            assert place is not None
            file.set(place, number)

    found = gather(tmp_path)

    assert found.of(catalogue.WAITING) == {("a",): [3]}
    assert found.of(catalogue.LEDGER_ASKED) == {(): [2]}
    for file in files:
        file.close()


def test_to_forget_leaves_the_living_alone(tmp_path: Path) -> None:
    """`up` begins anew; a service that runs by itself in the same home goes on."""
    leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=5)
    gather(tmp_path)
    leave(tmp_path, catalogue.RECEIVED, "CT", "dimse", figure=6)
    file = CellFile(tmp_path, "gateway")
    place = file.place((catalogue.RECEIVED.name, "CT", "dimse"), 1)
    assert place is not None
    file.set(place, 1)

    forget(tmp_path)

    assert gather(tmp_path).of(catalogue.RECEIVED) == {("CT", "dimse"): [1]}
    file.close()


def test_a_home_without_figures_has_none(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    assert gather(tmp_path / "metrics").samples == {}
    forget(tmp_path / "metrics")
    assert not (tmp_path / "metrics").exists()


def test_memory_is_that_of_the_living(tmp_path: Path) -> None:
    """As the kernel says it."""
    file = CellFile(tmp_path, "gateway")
    found = gather(tmp_path).of(catalogue.RESIDENT)
    file.close()
    if Path("/proc/self/statm").exists():
        assert found[("gateway",)][0] > 1_000_000


def test_what_a_rule_waits_for_is_there_before_it_happens(tmp_path: Path) -> None:
    """From 0, else `increase()` would miss the first; and only while somebody lives who could count it."""
    assert gather(tmp_path).samples == {}
    file = CellFile(tmp_path, "worker")
    found = gather(tmp_path)
    file.close()

    assert found.of(catalogue.DIGEST_FAILURES) == {("use",): [0], ("scrub",): [0]}
    assert found.of(catalogue.LEASES_LOST) == {(): [0]}
    assert found.of(catalogue.HTTP_REQUESTS) == {}
