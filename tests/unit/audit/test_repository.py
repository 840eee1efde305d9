"""When the repository has not taken what was sent: when it takes nothing, not when it is slow."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dicomrelay.audit import repository
from dicomrelay.audit.repository import Connection, RepositoryAway
from dicomrelay.settings import AuditSyslogSettings


class Seen(Connection):
    """Says of the kernel what a test wants, a second later each time."""

    def __init__(self, left: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
        self._settings = AuditSyslogSettings(host="audit.example", timeout_s=2)
        self._left = list(left)
        self.now = 0.0
        monkeypatch.setattr(repository.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(repository.time, "sleep", lambda _: None)

    def _not_taken(self) -> int:
        self.now += 1
        return self._left.pop(0)

    def check(self) -> None:
        """It has nothing to say."""


def test_a_slow_repository_has_as_long_as_it_takes_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time for the whole, all would be sent again and again, and nothing ever be heard."""
    slow = Seen([900, 900, 800, 800, 500, 500, 1, 0], monkeypatch)
    slow._wait_until_taken()
    assert slow.now == 8


def test_one_that_takes_nothing_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the time of the settings."""
    stands = Seen([900, 800, 800, 800, 800, 800], monkeypatch)
    with pytest.raises(RepositoryAway, match="800 bytes were not taken within 2 s"):
        stands._wait_until_taken()
    assert stands.now == 5
