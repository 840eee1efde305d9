"""Values of keys as the index compares them."""

from __future__ import annotations

import pytest

from scp_gateway.query.values import Invalid, normalised


@pytest.mark.parametrize(
    ("vr", "value", "form"),
    [
        ("DA", "20260102", "20260102"),
        ("DA", "20260101-20260131", "20260101-20260131"),
        ("DA", "20260101-", "20260101-"),
        ("DA", "-20260131", "-20260131"),
        ("DA", "2026.01.02", "20260102"),
        ("DA", "2026.01.02-2026.02.03", "20260102-20260203"),
        ("TM", "1015", "1015-1015"),
        ("TM", "10:15:00", "101500-101500"),
        ("TM", "101500.000", "101500-101500"),
        ("TM", "101500.250", "101500.25-101500.25"),
        ("TM", "08-12", "08-12"),
        ("TM", "-12", "-12"),
        ("IS", "+7", "+7"),
        ("UI", "1.2.3\\1.2.4", "1.2.3\\1.2.4"),
        ("UI", "1.02.3", "1.02.3"),
        ("LO", "anything *?-", "anything *?-"),
    ],
)
def test_one_form_for_what_means_the_same(vr: str, value: str, form: str) -> None:
    """Old dates and times, and fractions that say nothing."""
    assert normalised(vr, value) == form


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DA", "20261301"),
        ("DA", "2026*"),
        ("DA", "-"),
        ("DA", "20260101-20260102-20260103"),
        ("DA", "٢٠٢٦٠١٠٢"),
        ("TM", "2460"),
        ("TM", "10-1a"),
        ("IS", "seven"),
        ("IS", "99999999999"),
        ("US", "1.5"),
        ("UI", "1.2.*"),
        ("UI", "1.2.3\\"),
        ("UI", "1." * 40 + "1"),
        ("UI", "\\".join(f"1.2.{number}" for number in range(1001))),
        ("LO", "x" * 1025),
    ],
)
def test_what_cannot_be_a_value_is_said_without_quoting_it(vr: str, value: str) -> None:
    """It goes into an Error Comment and into our log."""
    with pytest.raises(Invalid) as invalid:
        normalised(vr, value)
    assert value not in str(invalid.value) or value == "-"
