"""A destination notes what came before it answers, and misbehaves as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from chaos.destination import Behaviour
from chaos.destination_process import DestinationProcess
from chaos.instances import Instance, make_instances
from chaos.senders import Load, StorescuSender, Tally, send_study
from dicomrelay.net.requestor import RemoteAe
from tests.support.house import require


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DestinationProcess]:
    """One for all tests; each tells it what to do."""
    running = DestinationProcess("pacs", tmp_path_factory.mktemp("pacs"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def instances(tmp_path: Path) -> list[Instance]:
    """Four of a study."""
    return list(islice(make_instances(tmp_path, 7, per_study=4), 4))


def _sent(
    destination: DestinationProcess, instances: list[Instance], behaviour: Behaviour
) -> tuple[Tally, list[str]]:
    """What the sender makes of it, and what the journal says has come."""
    destination.behave(behaviour)
    destination.read()
    before = len(destination.arrivals)
    tally = Tally()
    send_study(RemoteAe("PACS", "127.0.0.1", destination.port), instances, tally)
    destination.read()
    return tally, [each.copy.sop_instance_uid for each in destination.arrivals[before:]]


def test_what_came_is_noted_with_its_digest(
    destination: DestinationProcess, instances: list[Instance]
) -> None:
    """As the senders know it."""
    tally, came = _sent(destination, instances, Behaviour())

    assert came == list(tally.acknowledged)
    assert {
        each.copy.sop_instance_uid: each.copy.digest for each in destination.arrivals[-4:]
    } == tally.offered


def test_a_status_is_answered_in_turn(destination: DestinationProcess, instances: list[Instance]) -> None:
    """What is refused has come all the same, and is not acknowledged."""
    tally, came = _sent(destination, instances, Behaviour(statuses=(0, 0xA700)))

    assert len(came) == 4
    assert (len(tally.acknowledged), tally.refused, tally.statuses[0xA700]) == (2, 2, 2)


@pytest.mark.parametrize(
    ("behaviour", "came", "acknowledged"),
    [
        (Behaviour(end_at=3), 3, 2),
        (Behaviour(end_at=3, end_by="reset"), 3, 2),
        (Behaviour(end_at=1, end_by="close"), 1, 0),
        (Behaviour(reject=(2, 3, 2)), 0, 0),
        (Behaviour(refuse_contexts=3), 0, 0),
        (Behaviour(end_after_bytes=100), 0, 0),
    ],
)
def test_an_association_ends_where_it_is_to_end(
    destination: DestinationProcess,
    instances: list[Instance],
    behaviour: Behaviour,
    came: int,
    acknowledged: int,
) -> None:
    """What is whole is noted though it is not answered."""
    tally, arrived = _sent(destination, instances, behaviour)

    assert (len(arrived), len(tally.acknowledged), tally.broken_associations) == (came, acknowledged, 1)


def test_a_fault_may_be_of_the_first_associations_only(
    destination: DestinationProcess, instances: list[Instance]
) -> None:
    """Then all is right."""
    tally, _ = _sent(destination, instances, Behaviour(end_at=1, times=1))
    again = Tally()
    send_study(RemoteAe("PACS", "127.0.0.1", destination.port), instances, again)

    assert (len(tally.acknowledged), len(again.acknowledged)) == (0, 4)


@pytest.mark.dcmtk
def test_storescu_is_answered_and_its_words_are_understood(
    destination: DestinationProcess, tmp_path: Path
) -> None:
    """What DCMTK calls a success is in the journal."""
    require("storescu")
    destination.behave(Behaviour())
    stop = threading.Event()
    load = Load(per_association=5, pause_s=5)
    sender = StorescuSender(
        RemoteAe("PACS", "127.0.0.1", destination.port), tmp_path / "files", 3, stop, load=load
    )
    assert sender._send_some()
    destination.read()
    came = {each.copy.sop_instance_uid: each.copy.digest for each in destination.arrivals}

    assert len(sender.tally.acknowledged) == 5
    assert sender.tally.acknowledged.items() <= came.items()
