"""Ids of rows."""

from __future__ import annotations

import re

from dicomrelay.ledger.ids import new_id


def test_ids_are_unique_and_sort_in_the_order_of_their_making() -> None:
    """So that the newest entries of an index lie together, and instances of a transfer go in the order they came."""
    made = [new_id() for _ in range(5000)]
    assert len(set(made)) == 5000
    assert made == sorted(made)
    assert all(re.fullmatch(r"[0-9a-f]{32}", key) for key in made)
