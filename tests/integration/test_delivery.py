"""A batch of instances to one peer: who is asked what, and when."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.dicom.status import Outcome
from dicomrelay.errors import AssociationAborted, PeerUnreachable, SpoolCorrupt
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.net.service import StoreReply
from dicomrelay.runtime.ports import free_ports
from tests.support.engine import QUICK, MemoryService, Running, running_acceptor, store_item

# How long a slow file takes, and a peer that does not wait for it.
_LOOK_S = 1.0
_IMPATIENT = replace(QUICK, idle_timeout_s=_LOOK_S / 2)


def _instances(folder: Path, count: int) -> list[Instance]:
    return [
        Instance(f"key-{n}", store_item(folder / f"{n}.dcm", bytes([n]) * 100, f"1.2.3.{n}"))
        for n in range(1, count + 1)
    ]


def _target(peer: Running) -> Target:
    return Target(RemotePeer(peer.remote, "SENDER"))


def _send(
    peer: Running,
    instances: list[Instance],
    *,
    locate: Callable[[Instance], Path] = lambda instance: instance.item.path,
    keep_going: Callable[[], bool] = lambda: True,
) -> list[Answer]:
    answers: list[Answer] = []
    deliver(instances, _target(peer), locate=locate, answered=answers.append, keep_going=keep_going)
    return answers


def test_each_instance_is_answered_once_with_what_was_sent(tmp_path: Path) -> None:
    """The outcome, the bytes and the transfer syntax."""
    with running_acceptor() as peer:
        answers = _send(peer, _instances(tmp_path, 3))

        assert [(each.key, each.outcome, each.status) for each in answers] == [
            (f"key-{n}", Outcome.DELIVERED, 0) for n in (1, 2, 3)
        ]
        assert {each.sent_bytes for each in answers} == {100}
        assert {each.transfer_syntax_uid for each in answers} == {"1.2.840.10008.1.2.1"}
        assert all(each.seconds >= 0 and each.association_id for each in answers)
        assert [stored.data_set for stored in peer.service.stored] == [bytes([n]) * 100 for n in (1, 2, 3)]


def test_the_same_instance_given_twice_is_sent_twice(tmp_path: Path) -> None:
    """Equal items are told apart."""
    with running_acceptor() as peer:
        (one,) = _instances(tmp_path, 1)
        answers = _send(peer, [one, replace(one, key="again")])

        assert [each.key for each in answers] == ["key-1", "again"]


def test_what_the_peer_says_is_kept_apart_from_our_words(tmp_path: Path) -> None:
    """An Error Comment may name a patient: the words are for the log."""
    with running_acceptor(MemoryService(reply=StoreReply(0xA700, "CANARY^NAME"))) as peer:
        (answer,) = _send(peer, _instances(tmp_path, 1))

        assert answer.outcome is Outcome.RETRY
        assert answer.comment == "CANARY^NAME"
        assert "CANARY" not in answer.words


@pytest.mark.parametrize(
    ("error", "outcome"), [(SpoolCorrupt("they differ"), Outcome.REFUSED), (PermissionError(), Outcome.RETRY)]
)
def test_a_file_at_fault_costs_its_instance_only(tmp_path: Path, error: Exception, outcome: Outcome) -> None:
    """For good or for now; the ones before and behind it arrive."""

    def locate(instance: Instance) -> Path:
        if instance.key == "key-2":
            raise error
        return instance.item.path

    with running_acceptor() as peer:
        answers = {each.key: each for each in _send(peer, _instances(tmp_path, 3), locate=locate)}

        assert answers["key-2"].outcome is outcome
        assert answers["key-2"].sent_bytes == 0
        assert len(peer.service.stored) == 2


def test_a_file_that_moves_is_looked_for_once_more(tmp_path: Path) -> None:
    """The spool moves items while they wait to be sent."""
    instances = _instances(tmp_path, 2)
    asked: list[str] = []

    def locate(instance: Instance) -> Path:
        asked.append(instance.key)
        return instance.item.path if asked.count(instance.key) > 1 else tmp_path / "moved away"

    with running_acceptor() as peer:
        answers = _send(peer, instances, locate=locate)

        assert {each.outcome for each in answers} == {Outcome.DELIVERED}
        assert len(peer.service.stored) == 2


def test_a_file_that_stays_away_is_tried_again_later(tmp_path: Path) -> None:
    """It is not asked for a third time."""
    asked: list[str] = []

    def locate(instance: Instance) -> Path:
        asked.append(instance.key)
        return tmp_path / "nowhere"

    with running_acceptor() as peer:
        (answer,) = _send(peer, _instances(tmp_path, 1), locate=locate)

    assert answer.outcome is Outcome.RETRY
    assert len(asked) == 2


def test_after_a_no_nothing_more_is_begun(tmp_path: Path) -> None:
    """A lease that was lost, or Ctrl-C."""
    with running_acceptor() as peer:
        answers = _send(peer, _instances(tmp_path, 5), keep_going=lambda: len(peer.service.stored) < 2)

        assert [each.key for each in answers] == ["key-1", "key-2"]
        assert len(peer.service.stored) == 2


def test_a_no_before_the_first_byte_stops_what_is_prepared(tmp_path: Path) -> None:
    """Also while the answer to the one before is there and not yet told, as it is before a small instance; it is told then."""
    asked = [True, True, True]  # the first: prepared, its first byte; the second: prepared
    with running_acceptor() as peer:
        answers = _send(peer, _instances(tmp_path, 3), keep_going=lambda: bool(asked) and asked.pop())

        assert [(each.key, each.outcome) for each in answers] == [("key-1", Outcome.DELIVERED)]
        assert len(peer.service.stored) == 1


def test_more_kinds_than_an_association_takes_go_over_several(tmp_path: Path) -> None:
    """128 presentation contexts each."""
    instances = [
        Instance(str(n), replace(store_item(tmp_path / str(n), bytes(10)), sop_class_uid=f"1.2.3.{n}"))
        for n in range(130)
    ]
    with running_acceptor() as peer:
        answers = _send(peer, instances)

        assert len(answers) == 130
        assert [len(request.contexts) for request in peer.service.requests] == [128, 2]


def test_what_was_answered_before_the_association_died_was_told(tmp_path: Path) -> None:
    """The file of the second ends in the middle of its data set."""
    instances = _instances(tmp_path, 3)
    big = store_item(tmp_path / "big", bytes(2_000_000), "1.2.3.9")
    instances[1] = Instance("big", big)

    with running_acceptor() as peer:
        answers: list[Answer] = []
        with pytest.raises(AssociationAborted):
            deliver(
                instances,
                _target(peer),
                locate=lambda instance: instance.item.path,
                answered=answers.append,
                keep_going=lambda: True,
                pace=lambda _: os.truncate(tmp_path / "big", 1_000_000) if answers else None,
            )

    assert [(each.key, each.outcome) for each in answers] == [
        ("key-1", Outcome.DELIVERED),
        ("big", Outcome.REFUSED),
    ]


def _slow_for(key: str) -> Callable[[Instance], Path]:
    """A large file on a slow disk, which is looked at for longer than the peer waits."""

    def locate(instance: Instance) -> Path:
        if instance.key == key:
            threading.Event().wait(_LOOK_S)
        return instance.item.path

    return locate


@pytest.mark.parametrize(("key", "associations"), [("key-1", 1), ("key-2", 2), ("key-3", 2)])
def test_no_association_idles_while_a_file_is_looked_at(tmp_path: Path, key: str, associations: int) -> None:
    """The first before there is one; behind another the association is given up for a new one, and every answer is kept."""
    answers: list[Answer] = []
    with running_acceptor(limits=_IMPATIENT) as peer:
        deliver(
            _instances(tmp_path, 3),
            replace(_target(peer), longest_pause_s=_LOOK_S / 4),
            locate=_slow_for(key),
            answered=answers.append,
            keep_going=lambda: True,
        )

        assert [(each.key, each.outcome) for each in answers] == [
            (f"key-{n}", Outcome.DELIVERED) for n in (1, 2, 3)
        ]
        assert [stored.data_set for stored in peer.service.stored] == [bytes([n]) * 100 for n in (1, 2, 3)]
        assert len(peer.service.requests) == associations


def test_nothing_that_can_be_sent_is_no_association(tmp_path: Path) -> None:
    """The peer is not asked for what we do not have."""

    def locate(_: Instance) -> Path:
        raise SpoolCorrupt("they differ")

    with running_acceptor() as peer:
        answers = _send(peer, _instances(tmp_path, 2), locate=locate)

        assert [each.outcome for each in answers] == [Outcome.REFUSED] * 2
        assert not peer.service.requests


def test_nobody_there_is_an_error_and_no_answer(tmp_path: Path) -> None:
    """The caller knows that nothing was sent."""
    answers: list[Answer] = []
    with pytest.raises(PeerUnreachable):
        deliver(
            _instances(tmp_path, 1),
            Target(RemotePeer(RemoteAe("PACS", "127.0.0.1", free_ports(1)[0]), "SENDER")),
            locate=lambda instance: instance.item.path,
            answered=answers.append,
            keep_going=lambda: True,
        )
    assert not answers
