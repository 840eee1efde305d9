"""How many instances a transfer holds, and when what waits is cut: numbers, and what holds for all numbers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.ledger.batches import LEAST_BYTES, Limits, Room, least, parts

LIMITS = Limits(200, 1_000_000_000)
CT = 525_000


@dataclass(frozen=True)
class Instance:
    """Something with a size."""

    bytes: int


def sizes(
    instances: int, associations: int, *, complete: bool = True, open_transfers: int = 0, each: int = CT
) -> list[int]:
    """How many instances each transfer gets."""
    rows = [Instance(each)] * instances
    return [len(part) for part in parts(rows, Room(associations, open_transfers), LIMITS, complete=complete)]


@pytest.mark.parametrize(
    ("instances", "associations", "expected"),
    [
        (600, 1, [200, 200, 200]),
        (600, 2, [200, 200, 200]),
        (300, 2, [150, 150]),
        (600, 8, [75] * 8),
        (3000, 8, [200] * 15),
        (60, 2, [50, 10]),
        (30, 8, [12, 12, 6]),
        (1, 8, [1]),
        (0, 8, []),
    ],
)
def test_what_is_complete_is_shared_out_over_the_associations(
    instances: int, associations: int, expected: list[int]
) -> None:
    """In even shares, none smaller than is worth an association, none larger than a batch."""
    assert sizes(instances, associations) == expected


def test_large_instances_are_shared_out_by_their_bytes() -> None:
    """Six of 80 MB are 240 MB for each of two associations, not all for one."""
    assert sizes(6, 2, each=80_000_000) == [3, 3]


def test_an_instance_that_is_larger_than_a_batch_goes_by_itself() -> None:
    """And what stands around it is not held up."""
    rows = [Instance(10), Instance(2_000_000_000), Instance(10)]
    assert [len(part) for part in parts(rows, Room(1, 0), LIMITS, complete=True)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("instances", "open_transfers", "expected"),
    [
        (49, 0, []),  # less than is worth an association
        (50, 0, [50]),
        (120, 0, [60, 60]),
        (130, 3, [65, 65]),
        (130, 4, []),  # two for each association are open: it has enough to do
        (200, 4, [100, 100]),  # but a full batch is made whatever it has to do
        (130, 40, []),
    ],
)
def test_a_study_that_still_arrives_is_cut_where_its_destination_would_have_nothing_to_do(
    instances: int, open_transfers: int, expected: list[int]
) -> None:
    """Two associations."""
    assert sizes(instances, 2, complete=False, open_transfers=open_transfers) == expected


def test_what_is_less_than_a_share_waits_while_the_study_arrives() -> None:
    """Eight associations want twelve or more each: the last nine wait for others, or for the study to be complete."""
    assert sizes(45, 8, complete=False) == [12, 12, 12]
    assert sizes(45, 8, complete=True) == [12, 12, 12, 9]


def test_a_few_large_instances_do_not_wait_for_more() -> None:
    """64 MB are worth an association, however few they are."""
    assert sizes(1, 2, complete=False, each=LEAST_BYTES - 1) == []
    assert sizes(1, 2, complete=False, each=LEAST_BYTES) == [1]


def test_the_least_is_smaller_where_there_are_more_associations() -> None:
    """From 50 to 10."""
    assert [least(associations) for associations in (1, 2, 4, 8, 16, 64)] == [50, 50, 25, 12, 10, 10]


@given(
    rows=st.lists(st.integers(0, 2_000_000_000).map(Instance), max_size=300),
    associations=st.integers(1, 64),
    open_transfers=st.integers(0, 200),
    complete=st.booleans(),
)
def test_nothing_is_lost_doubled_or_out_of_order(
    rows: list[Instance], associations: int, open_transfers: int, complete: bool
) -> None:
    """The transfers are the beginning of what waits, in order; all of it when it is complete; each within its limits."""
    made = parts(rows, Room(associations, open_transfers), LIMITS, complete=complete)
    flat = [row for part in made for row in part]
    assert flat == rows[: len(flat)]
    assert len(flat) == len(rows) or not complete
    assert all(part for part in made)
    for part in made:
        assert len(part) <= LIMITS.instances
        assert len(part) == 1 or sum(row.bytes for row in part) <= LIMITS.bytes
