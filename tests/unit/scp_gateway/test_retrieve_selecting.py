"""What the keys of a retrieve name, and what is said when it is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dicomrelay.dicom.query_models import Level
from scp_gateway.retrieve.keys import Keys, RetrieveRefused
from scp_gateway.retrieve.selecting import Selection


class Archive:
    """Has so many instances of whoever is asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def select(self, **_: object) -> Iterator[int]:
        yield from range(self._count)


def _selection(count: int, patient_id: str) -> Selection:
    archive: Any = Archive(count)
    return Selection(archive, Keys(Level.PATIENT, patient_id=patient_id), 3)


@pytest.mark.parametrize("patient_id", ["1*", "A?B"])
def test_a_pattern_that_finds_nobody_is_refused(patient_id: str) -> None:
    """Success with nothing would be taken for "there is nothing"."""
    for ask in (_selection(0, patient_id).count, _selection(0, patient_id).read):
        with pytest.raises(RetrieveRefused, match="wildcards are not matched here") as refused:
            ask()
        assert (refused.value.status, refused.value.offending) == (0xA900, (0x00100020,))
        assert len(str(refused.value)) <= 64
        assert patient_id not in str(refused.value)


def test_an_id_with_such_characters_is_found() -> None:
    """It is one patient's, as it stands."""
    assert len(_selection(2, "1*").read()) == 2
    assert _selection(0, "P1").read() == []


def test_too_many_are_refused() -> None:
    """Not one more than may be is given."""
    assert len(_selection(3, "P1").read()) == 3
    with pytest.raises(RetrieveRefused, match="more than 3 instances"):
        _selection(4, "P1").read()
