"""From what is so to what a channel hears: once, in order, and again when the channel was away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.alerts.message import Telling
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.breaker import BreakerPolicy
from tests.support.certificates import Authority
from tests.support.rooms import NotedWakeUps, rooms_at
from workers.alerting import Alerting
from workers.rooms import Rooms

_TOML = (
    '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    "[alerts]\ndestination_after_seconds = 0\nattention_after_seconds = 0\n"
)


class Heard:
    """A channel that is there, or not."""

    def __init__(self) -> None:
        self.away = False
        self.told: list[Telling] = []

    def __call__(self, telling: Telling) -> None:
        if self.away:
            raise ServiceUnavailable("does not answer (test)")
        self.told.append(telling)

    def said(self) -> list[tuple[str, str, str]]:
        return [(each.what, each.kind, each.subject) for each in self.told]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Rooms, NotedWakeUps]]:
    pair = Authority(tmp_path).issue("relay", days=3)
    tls = f'[gateway.tls]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    with rooms_at(tmp_path / "home", tls + _TOML) as made:
        yield made


def test_what_is_so_is_told_once_by_the_one_that_leads(house: tuple[Rooms, NotedWakeUps]) -> None:
    """A destination that does not answer, a certificate that ends; a channel that was away hears of it later."""
    rooms, _ = house
    heard = Heard()
    alerting = Alerting(rooms, channels={"duty": heard})
    policy = BreakerPolicy(failures=1, initial_s=60, maximum_s=60)
    rooms.ledger.flow.failed("pacs", policy=policy, jitter=0, error="DOE^JANE")
    alerting.look(leads=False)
    assert heard.told == []

    heard.away = True
    alerting.look()
    heard.away = False
    for message in rooms.ledger.alerts.untold():
        assert (message.attempts, message.last_error) in {(1, "does not answer (test)"), (0, "")}
        rooms.ledger.alerts.not_told(message.id, why="", again_in_ms=0)
    for _ in range(3):
        alerting.look()

    assert heard.said() == [("firing", "certificate", "gateway"), ("firing", "destination", "pacs")]
    assert heard.told[0].host == rooms.host == heard.told[1].host
    assert not any("DOE" in str(each) for each in heard.told)
