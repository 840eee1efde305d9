"""A chain that was touched is found out, and the row is named (docs/design/evidence.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.ledger.evidence_check import ChainCheck, EvidenceRow
from dicomrelay.ledger.evidence_form import canonical
from tests.support.evidence import STUDY, chain, received, two_studies

ROWS = two_studies()[0]


def faults(rows: Sequence[EvidenceRow], *, of: Sequence[EvidenceRow] = ROWS) -> list[str]:
    """What is said of rows that should end as the chain `of` does."""
    check = ChainCheck(STUDY)
    said = [check.take(row) for row in rows]
    return [fault for fault in [*said, check.end(of[-1].number, of[-1].hash)] if fault]


def test_a_chain_as_it_was_written_has_no_fault() -> None:
    """Nor has an empty one."""
    assert faults(ROWS) == []
    assert ChainCheck(STUDY).end(0, "") == ""


def test_the_hash_is_what_the_page_says() -> None:
    """SHA-256 over the canonical JSON of the six; anybody's JSON and SHA-256 give the same."""
    for before, row in zip([None, *ROWS], ROWS, strict=False):
        told: dict[str, Any] = {
            "at": row.at,
            "body": json.loads(row.body),
            "kind": row.kind,
            "number": row.number,
            "previous": before.hash if before else "",
            "study_instance_uid": STUDY,
        }
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode("utf-8")).hexdigest() == row.hash


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_any_row_that_was_changed_is_named(place: int) -> None:
    """Its time, its kind, a word of its body, its hash; and its number, whether up or down."""
    row = ROWS[place]
    other = canonical({**row.facts, "detail": {**row.facts["detail"], "digest": "f" * 64}})
    changes: list[dict[str, Any]] = [
        {"at": row.at + 1},
        {"kind": "closed"},
        {"body": other},
        {"body": row.body.replace('"', '" ', 1)},
        {"hash": "0" * 64},
        {"number": row.number + 100},
        {"number": row.number - 1},
        {"study_instance_uid": "1.2.9"},
    ]
    for change in changes:
        found = faults([*ROWS[:place], replace(row, **change), *ROWS[place + 1 :]])
        assert found, change
        named = {str(change.get("number", row.number)), str(row.number), str(row.number + 1), "last"}
        assert any(word in found[0].replace(",", " ").split() for word in named), found


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_any_row_that_was_dropped_swapped_or_doubled_is_found(place: int) -> None:
    """At the end too: the head says how many there were."""
    dropped = [*ROWS[:place], *ROWS[place + 1 :]]
    assert f"row {place + 1} is missing" in faults(dropped)[0]
    doubled = [*ROWS[: place + 1], ROWS[place], *ROWS[place + 1 :]]
    assert faults(doubled) == [f"row {place + 1} stands here again, or out of its place"]
    if place + 1 < len(ROWS):
        swapped = [*ROWS[:place], ROWS[place + 1], ROWS[place], *ROWS[place + 2 :]]
        assert f"row {place + 1} is missing before row {place + 2}" in faults(swapped)


@pytest.mark.parametrize("left", range(len(ROWS)))
def test_an_end_that_was_cut_off_is_found_by_the_head(left: int) -> None:
    """And by nothing else: each row that is left is as it was."""
    (fault,) = faults(ROWS[:left])
    assert fault.startswith("the end was cut off")
    assert f"{left + 1}" in fault
    if left:
        assert faults(ROWS[:left], of=ROWS[:left]) == []


def test_a_row_put_in_between_with_all_behind_it_numbered_anew_is_found() -> None:
    """Who does not make all the hashes after it anew is caught at the first; who does, by the head."""
    put_in = chain([received(7, "pacs")], number=3, previous=ROWS[2].hash)[0]
    moved = [replace(row, number=row.number + 1) for row in ROWS[3:]]
    assert "row 5 was changed" in faults([*ROWS[:3], put_in, *moved])[0]
    forged = chain([(row.kind, row.facts) for row in [*ROWS[:3], put_in, *ROWS[3:]]])
    assert faults(forged) == [f"there are more rows than the {len(ROWS)} that its head says"]


def test_a_chain_that_was_pruned_goes_on_from_the_hash_that_its_study_kept() -> None:
    """The rows that are left prove themselves as a continuation of that one and no other."""
    whole = ChainCheck(STUDY, pruned=4, pruned_hash=ROWS[3].hash)
    assert [whole.take(row) for row in ROWS[4:]] == [""] * len(ROWS[4:])
    other = ChainCheck(STUDY, pruned=4, pruned_hash=ROWS[2].hash)
    assert "row 5 was changed, or the hash of the row before it" in other.take(ROWS[4])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("at"),
        lambda told: told.update(more=1),
        lambda told: told.update(number=True),
        lambda told: told.update(number="1"),
        lambda told: told.update(at=1.5),
        lambda told: told.update(body="{}"),
        lambda told: told.update(hash=None),
    ],
)
def test_what_is_no_row_is_none(spoil: Callable[[dict[str, Any]], Any]) -> None:
    """A field too many, too few, or of a type that only looks the same."""
    told = ROWS[0].as_json()
    assert EvidenceRow.from_json(told) == ROWS[0]
    spoil(told)
    with pytest.raises(ValueError, match="no row of evidence"):
        EvidenceRow.from_json(told)


_TEXTS = st.text(max_size=20)


@given(st.dictionaries(_TEXTS, st.one_of(_TEXTS, st.integers(), st.none()), max_size=6))
def test_the_canonical_form_survives_json(detail: dict[str, Any]) -> None:
    """Whatever a peer put into it: read and written again it is the same text, in ASCII and without a NUL."""
    text = canonical({"detail": detail})
    assert canonical(json.loads(text)) == text
    assert text.isascii()
    assert "\0" not in text
