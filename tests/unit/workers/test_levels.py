"""What the scheduler shows of the ledger, the queues and its host: as it is, once, and no more when it is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicomrelay import metrics
from dicomrelay.audit import Audit, Entry, Kind, Party, trail_of
from dicomrelay.audit.backlog import Backlog, backlog_of
from dicomrelay.audit.shipped import Place, Shipped
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.values import DeliveryState
from dicomrelay.metrics import catalogue, recorder
from dicomrelay.metrics.families import Family
from dicomrelay.metrics.gathering import gather
from dicomrelay.runtime.queue import Queue
from dicomrelay.settings import Settings
from tests.support.certificates import Authority
from tests.support.ledger import outcomes
from tests.support.rooms import NotedWakeUps, rooms_at, spooled
from workers.complete import make_complete
from workers.group import group_arrivals
from workers.levels import certificate_ends, hide_ledger, show_host, show_ledger
from workers.outcomes import OutcomeWriter
from workers.rooms import Rooms

_TOML = (
    '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    '[[destinations]]\nname = "other"\nae_title = "O"\nhost = "127.0.0.1"\nport = 105\n'
    '[[rules]]\nwhen = {}\nsend_to = ["pacs"]\n'
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Rooms, NotedWakeUps]]:
    with rooms_at(tmp_path / "home", _TOML) as made:
        metrics.begin(made[0].settings.path("run", "metrics"), "scheduler")
        yield made
        recorder.end()


def shown(rooms: Rooms, family: Family) -> dict[tuple[str, ...], float]:
    found = gather(rooms.settings.path("run", "metrics")).of(family)
    return {labels: figures[0] for labels, figures in found.items()}


def arrived(rooms: Rooms, *uids: str) -> None:
    for uid in uids:
        spooled(rooms, uid)
    group_arrivals(rooms)
    make_complete(rooms)


def test_what_waits_is_shown_by_destination_and_stage(house: tuple[Rooms, NotedWakeUps]) -> None:
    """Depth, age, places; nothing for who has nothing."""
    rooms, _ = house
    arrived(rooms, "1.2.3.1", "1.2.3.2")

    show_ledger(rooms)

    assert shown(rooms, catalogue.WAITING) == {("pacs",): 2, ("other",): 0}
    assert shown(rooms, catalogue.WAITING_BYTES)[("pacs",)] > 0
    assert shown(rooms, catalogue.OLDEST)[("other",)] == 0
    assert shown(rooms, catalogue.RUNNABLE) == {("pacs",): 1, ("other",): 0}
    assert shown(rooms, catalogue.LIMIT) == {("pacs",): 2, ("other",): 2}
    assert shown(rooms, catalogue.STAGE_WAITING) == {("archive",): 2, ("frames",): 0}
    assert shown(rooms, catalogue.DRAIN) == {}
    assert shown(rooms, catalogue.LEDGER_ASKED)[()] > 1.7e9
    # Who leads no more shows nothing of it: else two schedulers would show it twice.
    hide_ledger()
    left = {key[0] for key in gather(rooms.settings.path("run", "metrics")).samples}
    assert not {name for name in left if "destination" in name and not name.endswith("_total")}
    assert catalogue.LEDGER_ASKED.name not in left


def test_a_destination_that_is_left_alone_is_shown_as_it_is(house: tuple[Rooms, NotedWakeUps]) -> None:
    """The breaker's state, since when, and no place; and it is so no more when it answers."""
    rooms, _ = house
    arrived(rooms, "1.2.3.1")
    policy = BreakerPolicy(failures=1, initial_s=60, maximum_s=60)
    rooms.ledger.flow.failed("pacs", policy=policy, jitter=0, error="nobody there")
    rooms.ledger.flow.hold("other")

    show_ledger(rooms)

    states = {
        labels[1]: value for labels, value in shown(rooms, catalogue.BREAKER).items() if labels[0] == "pacs"
    }
    assert states == {"closed": 0, "open": 1, "half_open": 0}
    assert shown(rooms, catalogue.LIMIT) == {("pacs",): 0, ("other",): 0}
    assert shown(rooms, catalogue.RUNNABLE)[("pacs",)] == 0
    assert shown(rooms, catalogue.HELD) == {("pacs",): 0, ("other",): 1}
    rooms.ledger.flow.reached("pacs")
    show_ledger(rooms)
    assert shown(rooms, catalogue.BREAKER)[("pacs", "closed")] == 1
    assert shown(rooms, catalogue.BREAKER_SECONDS)[("pacs",)] == 0


def test_what_is_answered_is_counted_as_it_is(house: tuple[Rooms, NotedWakeUps]) -> None:
    """By destination and outcome; what stands refused needs a person."""
    rooms, _ = house
    arrived(rooms, "1.2.3.1", "1.2.3.2", "1.2.3.3")
    claimed = rooms.ledger.claim_next_transfer("pacs", owner="me", lease_ms=60_000)
    assert claimed is not None
    writer = OutcomeWriter(rooms.ledger, claimed)
    for outcome in outcomes(claimed, DeliveryState.DELIVERED, DeliveryState.WARNING, DeliveryState.REFUSED):
        writer.add(outcome)
    writer.flush()

    show_ledger(rooms)

    found = shown(rooms, catalogue.OUTCOMES)
    assert found == {("pacs", "delivered"): 1, ("pacs", "warning"): 1, ("pacs", "refused"): 1}
    journey = gather(rooms.settings.path("run", "metrics")).of(catalogue.JOURNEY_SECONDS)[("pacs",)]
    assert sum(journey[:-1]) == 2
    assert shown(rooms, catalogue.REFUSED_NOW) == {("pacs",): 1, ("other",): 0}
    attention = shown(rooms, catalogue.ATTENTION_ROWS)
    assert attention[("refused",)] == 1
    assert set(attention) == {(kind,) for kind in catalogue.ATTENTION}
    assert shown(rooms, catalogue.GROUPED)[("new",)] == 3


def test_work_is_as_old_as_it_is_whatever_became_of_its_messages(
    house: tuple[Rooms, NotedWakeUps], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By queue; and in the spool what no worker has registered."""
    rooms, _ = house
    spooled(rooms, "1.2.3.1")
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr("workers.levels.time.time", lambda: now + 900)
        show_host(rooms)
    assert 890 <= shown(rooms, catalogue.SPOOL_OLDEST)[()] < 1000

    group_arrivals(rooms)
    show_host(rooms)
    show_ledger(rooms)

    assert shown(rooms, catalogue.SPOOL_OLDEST) == {(): 0}
    ages = shown(rooms, catalogue.QUEUE_OLDEST)
    assert set(ages) == {(name,) for name in catalogue.QUEUE_OLDEST.values["queue"]}
    assert ages[("forward.normal",)] == 0


def test_the_trail_that_the_repository_has_not_heard_is_shown(tmp_path: Path) -> None:
    """Bytes and age; nothing of it where there is no repository."""
    settings = Settings(home=tmp_path, audit={"syslog": {"host": "audit.example"}})
    assert backlog_of(settings) == Backlog()
    Audit(settings).note(Entry(Kind.QUERY, "find", Party("CT"), at=datetime.now(UTC) - timedelta(minutes=20)))
    Audit(settings).note(Entry(Kind.QUERY, "find", Party("CT")))
    found = backlog_of(settings)
    trail = trail_of(settings)
    (segment,) = trail.segments()
    assert found.bytes == trail.path(segment).stat().st_size
    assert 1200 <= found.oldest_s < 1300
    (_, first), (_, last) = trail.lines(segment)
    Shipped(settings.path("audit")).write(Place(segment, first))
    assert backlog_of(settings).bytes == last - first
    assert backlog_of(settings).oldest_s < 100
    Shipped(settings.path("audit")).write(Place(segment, last))
    assert backlog_of(settings) == Backlog()


def test_every_certificate_of_the_settings_is_watched(tmp_path: Path) -> None:
    """Also those towards the broker, the database, the audit repository and the receivers of steps."""
    pair = Authority(tmp_path).issue("relay", days=3)
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    step = {"name": "ris", "ae_title": "RIS", "host": "ris.example", "port": 104, "tls": tls}
    settings = Settings(
        home=tmp_path,
        audit={"syslog": {"host": "audit.example", "tls": tls}},
        broker={"url": "rediss://broker.example", "tls": tls},
        database={"url": "postgresql://db.example/relay", "tls": tls},
        performed_procedure_steps={"destinations": [step]},
        streamer={"tls": tls},
    )

    ends = certificate_ends(settings)

    assert set(ends) == {"audit", "broker", "database", "mpps ris", "streamer"}
    assert all(time.time() < each < time.time() + 4 * 86_400 for each in ends.values())


def test_the_host_shows_its_spool_its_disks_its_queues_and_its_certificates(
    house: tuple[Rooms, NotedWakeUps],
) -> None:
    """And a broker that is away is said to be."""
    rooms, queue = house
    spooled(rooms, "1.2.3.1")
    queue.depth[Queue.GROUP] = 7

    show_host(rooms)

    assert shown(rooms, catalogue.SPOOL_ITEMS)[("new",)] == 1
    assert shown(rooms, catalogue.QUEUE_MESSAGES)[("group",)] == 7
    assert shown(rooms, catalogue.QUEUE_MESSAGES)[(catalogue.HERE,)] == 0
    assert shown(rooms, catalogue.BROKER_UP) == {(): 1}
    assert set(shown(rooms, catalogue.DISK_FREE)) == {("spool",), ("home",), ("archive",)}
    queue.broken = True
    show_host(rooms)
    assert shown(rooms, catalogue.BROKER_UP) == {(): 0}
    assert shown(rooms, catalogue.QUEUE_MESSAGES) == {}
