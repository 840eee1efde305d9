"""Extended negotiation of C-FIND (PS3.4 Section C.5.1.1)."""

from __future__ import annotations

import pytest

from dicomrelay.settings import QuerySettings
from scp_gateway.query.extended import agreed_by, agreement
from scp_gateway.query.question import Agreed

PLAIN = QuerySettings()


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"\x01\x01\x01\x01\x01", b"\x01\x01\x01\x00\x00"),
        (b"\x01", b"\x01"),
        (b"\x00\x01\x00", b"\x00\x01\x00"),
        (b"\x02\xff", b"\x00\x00"),
        (b"", b""),
        (b"\x00\x00\x00\x00\x00\x01\x01", b"\x00" * 7),
    ],
)
def test_one_is_answered_only_where_one_was_asked(asked: bytes, answered: bytes) -> None:
    """And no more bytes than came."""
    assert agreement(asked, PLAIN) == answered


def test_what_was_agreed_holds() -> None:
    """And nothing else does, unless the settings grant it to anybody."""
    assert agreed_by(b"", PLAIN) == Agreed()
    assert agreed_by(b"\x01\x00\x01", PLAIN) == Agreed(relational=True, fuzzy_names=True)
    assert agreed_by(b"\x00\x01", PLAIN) == Agreed(combined_date_time=True)
    always = QuerySettings(relational="always", fuzzy_names="always")
    assert agreed_by(b"", always) == Agreed(relational=True, fuzzy_names=True)


def test_fuzzy_names_can_be_refused() -> None:
    """The setting is asked first."""
    never = QuerySettings(fuzzy_names="never")
    assert agreement(b"\x01\x01\x01", never) == b"\x01\x01\x00"
    assert not agreed_by(b"\x01\x01\x01", never).fuzzy_names
