"""What a process says of itself, and what becomes of it when it forks or meets an evil label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicomrelay.metrics import add, begin, catalogue, level, levels, observe, recorder
from dicomrelay.metrics.gathering import gather


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "metrics"
    begin(folder, "gateway")
    yield folder
    recorder.end()


def test_counters_gauges_and_histograms_are_gathered(folder: Path) -> None:
    """Each by its labels."""
    add(catalogue.RECEIVED, "CT_1", "dimse", by=2)
    add(catalogue.RECEIVED, "CT_1", "dimse")
    add(catalogue.RECEIVED, "MR_1", "stow")
    level(catalogue.ASSOCIATIONS_OPEN, 4)
    observe(catalogue.RECEIVE_SECONDS, 0.003, "dimse")
    observe(catalogue.RECEIVE_SECONDS, 99, "dimse")

    found = gather(folder)

    assert found.of(catalogue.RECEIVED) == {("CT_1", "dimse"): [3], ("MR_1", "stow"): [1]}
    assert found.of(catalogue.ASSOCIATIONS_OPEN) == {(): [4]}
    figures = found.of(catalogue.RECEIVE_SECONDS)[("dimse",)]
    assert figures[catalogue.RECEIVE_SECONDS.buckets.index(0.005)] == 1
    assert figures[-2:] == [1, pytest.approx(99.003)]
    assert found.of(catalogue.PROCESSES) == {("gateway",): [1]}


def test_nothing_is_counted_before_it_begins(tmp_path: Path) -> None:
    """A command that is no service writes no file."""
    add(catalogue.RECEIVED, "CT_1", "dimse")
    assert list(tmp_path.iterdir()) == []


def test_labels_of_the_wire_are_bounded(folder: Path) -> None:
    """A scanner with random AE titles makes one series more, and no other."""
    for number in range(recorder.MOST_SERIES + 100):
        add(catalogue.RECEIVED, f"AE{number}", "dimse")

    found = gather(folder).of(catalogue.RECEIVED)

    assert len(found) == recorder.MOST_SERIES + 1
    assert found[("other", "other")] == [100]


def test_a_label_is_printable_and_short(folder: Path) -> None:
    """Whatever a peer calls itself."""
    add(catalogue.RECEIVED, 'A"\\\n\x00é' + "x" * 100, "dimse")

    ((source, _),) = gather(folder).of(catalogue.RECEIVED)

    assert source == ('A"\\???' + "x" * 100)[:64]


def test_a_gauge_that_is_gone_is_shown_no_more(folder: Path) -> None:
    """Such as that of a destination which was removed; it may come back."""
    levels(catalogue.WAITING, {("a",): 1, ("b",): 2})
    levels(catalogue.WAITING, {("b",): 3})
    assert gather(folder).of(catalogue.WAITING) == {("b",): [3]}

    levels(catalogue.WAITING, {("a",): 5, ("b",): 3})
    assert gather(folder).of(catalogue.WAITING) == {("a",): [5], ("b",): [3]}


def test_threads_lose_no_count(folder: Path) -> None:
    """An addition is one step for all of them."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [add(catalogue.RECEIVED, "CT", "dimse") for _ in range(500)], range(8)))

    assert gather(folder).of(catalogue.RECEIVED) == {("CT", "dimse"): [4000]}


def test_a_child_of_a_fork_counts_for_itself_and_beyond_its_end(folder: Path) -> None:
    """It neither writes into its parent's file nor takes its count along; and what it counted stays."""
    add(catalogue.RECEIVED, "CT", "dimse", by=10)
    pid = os.fork()
    if pid == 0:
        add(catalogue.RECEIVED, "CT", "dimse")
        os._exit(0)
    os.waitpid(pid, 0)
    add(catalogue.RECEIVED, "CT", "dimse")

    assert gather(folder).of(catalogue.RECEIVED) == {("CT", "dimse"): [12]}
    assert gather(folder).of(catalogue.RECEIVED) == {("CT", "dimse"): [12]}
    assert len(list(folder.glob("*.cells"))) == 1


def test_a_folder_that_cannot_be_written_costs_the_figures_and_nothing_else(tmp_path: Path) -> None:
    """An image is worth more."""
    (tmp_path / "metrics").write_text("a file", "utf-8")
    begin(tmp_path / "metrics", "gateway")
    try:
        add(catalogue.RECEIVED, "CT", "dimse")
        observe(catalogue.RECEIVE_SECONDS, 1, "dimse")
    finally:
        recorder.end()
