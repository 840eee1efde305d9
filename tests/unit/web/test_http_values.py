"""Small things of HTTP that need no socket."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dicomrelay.web.http import retry_after_s

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("0", 0),
        (" 7 ", 7),
        ("99999999999999999999", 3600),
        ("-5", 0),
        ("soon", 0),
        ("1.5", 0),
        ("\u0664", 0),
        ("Fri, 02 Jan 2026 03:04:15 GMT", 10),
        ("Fri, 02 Jan 2026 03:04:15", 10),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0),
        ("Fri, 02 Jan 2027 03:00:00 GMT", 3600),
        ("Fri, 99 Jan 2026 03:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    """RFC 9110 Section 10.2.3; an hour at most, and nothing for what is neither."""
    assert retry_after_s(text, now=NOW) == seconds
