"""From what is so to what a channel hears: once, in order, and again when the channel was away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dicomrelay.alerts.channels import Channel
from dicomrelay.alerts.message import Telling
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.values_alerts import AlertKind, Condition, Severity
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

    def __call__(self, tellings: Sequence[Telling]) -> str:
        if self.away:
            raise ServiceUnavailable("does not answer (test)")
        self.told += tellings
        return ""

    def said(self) -> list[tuple[str, str, str]]:
        return [(each.what, each.kind, each.subject) for each in self.told]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look waits until all are told, on the slowest machine."""
    monkeypatch.setattr("workers.alerting._WAIT_S", 60)


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
    alerting = Alerting(rooms, channels={"duty": Channel(heard)})
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


def fire(rooms: Rooms, *names: str, channels: Sequence[str]) -> None:
    """As if so many destinations did not answer."""
    conditions = [
        Condition(AlertKind.DESTINATION, name, Severity.CRITICAL, f"{name} is silent", "echo")
        for name in names
    ]
    rooms.ledger.alerts.saw("somewhere", conditions, channels=channels, repeat_ms=None)


def test_what_one_channel_comes_to_keeps_nothing_from_the_others(
    house: tuple[Rooms, NotedWakeUps], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fails as nobody foresaw, one hangs: the third is told at once, and the looks go on."""
    monkeypatch.setattr("workers.alerting._WAIT_S", 0.1)
    rooms, _ = house
    hangs, heard = threading.Event(), Heard()
    asked: list[str] = []

    def breaks(_: Sequence[Telling]) -> str:
        raise UnicodeEncodeError("ascii", "pässwort", 1, 2, "DOE^JANE")

    def hung(tellings: Sequence[Telling]) -> str:
        asked.append(tellings[0].subject)
        hangs.wait(60)
        return ""

    channels = {"a": Channel(breaks), "b": Channel(hung), "c": Channel(heard)}
    alerting = Alerting(rooms, channels=channels)
    fire(rooms, "pacs", channels=list(channels))
    deadline = time.monotonic() + 30
    while not (asked and heard.told) and time.monotonic() < deadline:
        alerting.look()
    hangs.set()

    assert asked == ["pacs"]
    assert ("firing", "destination", "pacs") in heard.said()
    failed = next(each for each in rooms.ledger.alerts.untold() if each.channel == "a" and each.attempts)
    assert failed.last_error == "failed (UnicodeEncodeError)"


def test_a_storm_is_one_mail(house: tuple[Rooms, NotedWakeUps]) -> None:
    """A few are told one by one; when half the house is down, nobody reads a hundred."""
    rooms, _ = house
    together: list[int] = []

    def mailed(tellings: Sequence[Telling]) -> str:
        together.append(len(tellings))
        return ""

    hook = Heard()
    alerting = Alerting(rooms, channels={"mail": Channel(mailed, most=100), "duty": Channel(hook)})
    fire(rooms, *[f"north-{number}" for number in range(9)], channels=["mail", "duty"])
    alerting.look()

    assert together == [10]  # and the certificate that ends
    assert len(hook.told) == 10
    assert not rooms.ledger.alerts.untold()
