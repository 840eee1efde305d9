"""C-STORE and C-ECHO between our own requestor and acceptor, over real sockets."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from dicomrelay.errors import (
    AssociationAborted,
    AssociationRejected,
    ConfigurationError,
    MalformedDataSet,
    NoAcceptedContext,
    PeerUnreachable,
    PortInUse,
    RelayError,
    ServiceUnavailable,
    SpoolCorrupt,
    SpoolError,
    SpoolFull,
)
from dicomrelay.net.acceptor import listen
from dicomrelay.net.limits import AcceptorLimits
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem, Timeouts
from dicomrelay.net.service import Admission, EndingKind, Rejection, StoreReply
from tests.support.engine import (
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    QUICK,
    MemoryService,
    Running,
    contexts_for,
    running_acceptor,
    store_item,
)

VERIFICATION = ("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
CT = (CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))


def _associate(running: Running, *, window: int = 1) -> Association:
    return Association.request(
        running.remote, calling_ae_title="SENDER", contexts=[VERIFICATION, CT], window=window
    )


@pytest.mark.parametrize("size", [0, 2, 1000, 16_378, 262_138, 262_140, 3_000_000])
def test_a_data_set_arrives_byte_for_byte(tmp_path: Path, size: int) -> None:
    """Of any length: none, one PDU, exactly one PDU, one more, several reads."""
    data_set = os.urandom(size)
    item = store_item(tmp_path / "x", data_set, offset=354)
    with running_acceptor() as running, _associate(running) as association:
        assert association.store(item) == StoreReply(0)
        assert association.store(item) == StoreReply(0)
        assert [stored.data_set for stored in running.service.stored] == [data_set, data_set]
        assert running.service.stored[0].request.sop_instance_uid == item.sop_instance_uid
        assert running.service.stored[0].transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN


def test_the_service_learns_who_came_and_how_it_ended(tmp_path: Path) -> None:
    """`opened` and `closed` once each, with titles, counts and bytes."""
    with running_acceptor() as running:
        with _associate(running) as association:
            assert association.echo() == 0
            association.store(store_item(tmp_path / "x", bytes(5000)))
        ending = running.service.wait_ending()
        (info,) = running.service.infos
        assert (info.calling_ae_title, info.called_ae_title, info.peer_address) == (
            "SENDER",
            "RELAY",
            "127.0.0.1",
        )
        assert info.implementation_version_name.startswith("DICOMRELAY")
        assert (ending.kind, ending.echoes, ending.stored, ending.failed) == (EndingKind.RELEASED, 1, 1, 0)
        assert ending.bytes_received == 5000
        assert 0 < ending.duration_s < 10
    assert len(running.service.endings) == 1


def test_a_status_and_its_comment_reach_the_sender(tmp_path: Path) -> None:
    """A comment is cut to 64 characters, and what is no ASCII is replaced: the status gets through in any case."""
    service = MemoryService(reply=StoreReply(0xB006, "Ü" + "x" * 99))
    with running_acceptor(service) as running, _associate(running) as association:
        reply = association.store(store_item(tmp_path / "x", b"ab"))
        assert reply == StoreReply(0xB006, "?" + "x" * 63)


def _fails(error: Exception) -> MemoryService:
    def fail() -> None:
        raise error

    return MemoryService(on_finish=fail)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpoolFull("low water"), 0xA700),
        (SpoolError("the disk does not do its work"), 0xA700),
        (ServiceUnavailable("the index does not answer"), 0xA700),
        (MalformedDataSet("byte 8: wrong"), 0xC000),
        (OSError(28, "No space left on device"), 0xA700),
        (RelayError("something else of ours"), 0x0110),
        (ValueError("a bug"), 0x0110),
    ],
)
@pytest.mark.parametrize("where", ["on_begin", "on_write", "on_finish"])
def test_what_the_service_raises_is_answered_and_the_association_lives_on(
    tmp_path: Path, error: Exception, status: int, where: str
) -> None:
    """By the table of `net.replies`; the rest of the data set is read; the next instance may succeed."""
    service = MemoryService()

    def fail() -> None:
        raise error

    setattr(service, where, fail)
    with running_acceptor(service) as running, _associate(running) as association:
        big = store_item(tmp_path / "x", os.urandom(2_000_000), uid="1.9")
        assert association.store(big).status == status
        assert service.stored == []
        assert service.abandoned == (["1.9"] if where == "on_write" else [])
        setattr(service, where, None)
        assert association.store(big).status == 0
        association.release()
        ending = service.wait_ending()
        assert (ending.stored, ending.failed, ending.kind) == (1, 1, EndingKind.RELEASED)


def test_a_refusal_before_the_data_set_is_answered_after_it(tmp_path: Path) -> None:
    """`begin_store` may answer in place of a sink."""
    service = MemoryService(on_begin=lambda: StoreReply(0xA900, "wrong class"))
    with running_acceptor(service) as running, _associate(running) as association:
        assert association.store(store_item(tmp_path / "x", bytes(500_000))) == StoreReply(
            0xA900, "wrong class"
        )
        assert association.echo() == 0


def test_a_context_that_was_not_accepted_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """NoAcceptedContext, and the association can still be used."""
    item = store_item(tmp_path / "x", b"ab")
    other = StoreItem("1.2.840.10008.5.1.4.1.1.4", "1.2", EXPLICIT_VR_LITTLE_ENDIAN, item.path, 0, 2)
    with running_acceptor() as running, _associate(running) as association:
        with pytest.raises(
            NoAcceptedContext, match=r"RELAY@127.0.0.1:\d+ accepted no presentation context for 1\.2\."
        ):
            association.store(other)
        assert association.store(item).status == 0


def test_a_file_that_is_too_short_is_not_sent(tmp_path: Path) -> None:
    """SpoolCorrupt, without the file's name; nothing was sent, so the association lives on. A missing file is an OSError."""
    item = store_item(tmp_path / "x", bytes(1000))
    longer = StoreItem(item.sop_class_uid, "1.2", item.transfer_syntax_uid, item.path, 1, 1000)
    gone = StoreItem(item.sop_class_uid, "1.2", item.transfer_syntax_uid, tmp_path / "gone", 0, 10)
    with running_acceptor() as running, _associate(running) as association:
        with pytest.raises(SpoolCorrupt, match="the file has 1000 bytes, 1001 are recorded"):
            association.store(longer)
        with pytest.raises(FileNotFoundError):
            association.store(gone)
        assert association.store(item).status == 0


def test_a_file_that_shrinks_while_it_is_sent_aborts_the_association(tmp_path: Path) -> None:
    """What was promised cannot be sent: abort, so that the peer keeps no half instance."""
    item = store_item(tmp_path / "x", bytes(2_000_000))

    def shrink(_count: int) -> None:
        os.truncate(item.path, 1000)

    with running_acceptor() as running:
        association = _associate(running)
        with pytest.raises(SpoolCorrupt, match="became shorter while it was sent"):
            association.store(item, pace=shrink)
        assert not association.is_open
        assert running.service.wait_ending().kind in {EndingKind.ABORTED_BY_PEER, EndingKind.CONNECTION_LOST}
        assert running.service.stored == []
        assert running.service.abandoned == [item.sop_instance_uid]


def test_pace_is_asked_for_every_byte(tmp_path: Path) -> None:
    """A rate limit sees all data set bytes, PDU by PDU, before they go."""
    asked: list[int] = []
    with running_acceptor() as running, _associate(running) as association:
        association.store(store_item(tmp_path / "x", bytes(600_000)), pace=asked.append)
    assert sum(asked) == 600_000
    assert len(asked) == 3


@pytest.mark.parametrize("max_pdu_bytes", [1024, 4096, 16_384, 131_072, 1 << 20])
def test_whatever_the_peer_takes_in_one_pdu_it_gets_the_same_bytes(
    tmp_path: Path, max_pdu_bytes: int
) -> None:
    """Read ahead and not, whole PDUs and a rest, more pieces than one system call takes; paced the same."""
    limits = replace(AcceptorLimits(), max_pdu_bytes=max_pdu_bytes)
    paced: list[int] = []
    with running_acceptor(limits=limits) as running, _associate(running) as association:
        for size in (max_pdu_bytes - 6, max_pdu_bytes - 4, 65_536, 1 << 20, (1 << 20) + 2, 3_000_000):
            data_set = os.urandom(size)
            for pace in (None, paced.append):
                assert (
                    association.store(store_item(tmp_path / "x", data_set, offset=10), pace=pace).status == 0
                )
                assert running.service.stored[-1].data_set == data_set
            assert sum(paced) == size
            assert max(paced) <= max_pdu_bytes
            paced.clear()


def test_instances_one_after_another_share_a_buffer_and_keep_their_bytes(tmp_path: Path) -> None:
    """The next is read while the answer to the one before is awaited, with a window and without."""
    sizes = [70_000, 1_500_000, 90_000, 300_000, 10, 2_000_000, 1 << 20, 80_001 & ~1] * 3
    data_sets = [os.urandom(size) for size in sizes]
    items = [
        store_item(tmp_path / str(number), data, uid=f"1.{number}") for number, data in enumerate(data_sets)
    ]
    for window in (1, 8):
        with running_acceptor() as running, _associate(running, window=window) as association:
            assert all(reply == StoreReply(0) for _, reply in association.stores(items))
            assert [stored.data_set for stored in running.service.stored] == data_sets


def test_what_a_disk_or_a_file_server_says_is_raised_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no broken disk here; preadv says what one would make it say. Nothing was sent, so the association lives on."""
    item = store_item(tmp_path / "x", bytes(100_000))

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with running_acceptor() as running, _associate(running) as association:
        with monkeypatch.context() as broken:
            broken.setattr(os, "preadv", failing)
            with pytest.raises(OSError, match="Input/output error") as caught:
                association.store(item)
        assert caught.value.filename == str(item.path)
        assert association.store(item) == StoreReply(0)


def test_a_data_set_behind_four_gibibytes_is_sent(tmp_path: Path) -> None:
    """Offsets do not wrap: the last megabytes of a file that is mostly a hole, read ahead and read whole."""
    path, offset = tmp_path / "x", 5 << 30
    data_set = os.urandom(1_000_000)
    with path.open("wb") as file:
        file.seek(offset)
        file.write(data_set)
    with running_acceptor() as running, _associate(running) as association:
        for begin in (0, 990_000):
            item = StoreItem(
                CT_IMAGE_STORAGE,
                "1.2",
                EXPLICIT_VR_LITTLE_ENDIAN,
                path,
                offset + begin,
                len(data_set) - begin,
            )
            assert association.store(item) == StoreReply(0)
            assert running.service.stored[-1].data_set == data_set[begin:]


def test_many_are_stored_one_after_another_and_each_gets_its_answer(tmp_path: Path) -> None:
    """What cannot be sent is yielded with its error, in its place, and the association lives on."""
    good = [store_item(tmp_path / f"{number}", os.urandom(1000), uid=f"1.{number}") for number in range(4)]
    gone = StoreItem(CT_IMAGE_STORAGE, "1.9", EXPLICIT_VR_LITTLE_ENDIAN, tmp_path / "gone", 0, 10)
    other = StoreItem("1.2.840.10008.5.1.4.1.1.4", "1.10", EXPLICIT_VR_LITTLE_ENDIAN, good[0].path, 0, 2)
    longer = StoreItem(CT_IMAGE_STORAGE, "1.11", EXPLICIT_VR_LITTLE_ENDIAN, good[0].path, 1, 1000)
    with running_acceptor() as running, _associate(running) as association:
        found = dict(association.stores([good[0], gone, good[1], other, longer, *good[2:]]))
        assert [found[item] for item in good] == [StoreReply(0)] * 4
        assert isinstance(found[gone], FileNotFoundError)
        assert isinstance(found[other], NoAcceptedContext)
        assert isinstance(found[longer], SpoolCorrupt)
        assert association.is_open
        uids = [stored.request.sop_instance_uid for stored in running.service.stored]
        assert uids == [item.sop_instance_uid for item in good]


def test_a_file_that_fails_in_its_middle_is_yielded_and_ends_the_association(tmp_path: Path) -> None:
    """First the error of that item, then AssociationAborted; the next item was never begun."""
    good, bad, never = (store_item(tmp_path / name, bytes(2_000_000), uid=f"1.{name}") for name in "123")

    def pace(_count: int) -> None:
        if len(running.service.stored) == 1:
            os.truncate(bad.path, 1000)

    with running_acceptor() as running:
        association = _associate(running)
        answers = association.stores([good, bad, never], pace=pace)
        assert next(answers) == (good, StoreReply(0))
        item, error = next(answers)
        assert item == bad
        assert isinstance(error, SpoolCorrupt)
        with pytest.raises(AssociationAborted, match="became shorter while it was sent"):
            next(answers)
        assert not association.is_open
        assert len(running.service.stored) == 1


@pytest.mark.parametrize("rejection", [Rejection(1, 1, 3), Rejection(1, 1, 7), Rejection(2, 3, 1)])
def test_a_rejection_reaches_the_requestor(rejection: Rejection) -> None:
    """With its numbers, in words, and whether another try is worth it."""
    with running_acceptor(MemoryService(rejection=rejection)) as running:
        with pytest.raises(AssociationRejected, match="rejected the association: ") as caught:
            _associate(running)
        assert (caught.value.result, caught.value.source, caught.value.reason) == (
            rejection.result,
            rejection.source,
            rejection.reason,
        )
        assert caught.value.retryable == (rejection.result == 2)
    assert not running.service.infos
    assert not running.service.endings


def test_a_service_that_fails_to_decide_rejects_for_now() -> None:
    """`negotiate` raising is (2, 1, 1): the peer may come again."""
    service = MemoryService()

    def fail(*_: object) -> list[object]:
        raise ValueError

    service.negotiate = fail  # type: ignore[method-assign,assignment]
    with running_acceptor(service) as running, pytest.raises(AssociationRejected) as caught:
        _associate(running)
    assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 1, 1)


def test_a_service_that_fails_to_admit_stops_no_listener() -> None:
    """`admit` raising is a refusal for now; the loop goes on."""
    service = MemoryService()

    def fail(*_: object) -> bool:
        raise ValueError

    with running_acceptor(service) as running:
        service.admit = fail  # type: ignore[method-assign]
        with pytest.raises(AssociationRejected, match="for now: local limit exceeded"):
            _associate(running)
        del service.admit  # type: ignore[method-assign]
        _associate(running).release()


def test_an_exception_in_the_block_aborts_the_association(tmp_path: Path) -> None:
    """Leaving the context manager by an exception is no release."""
    with running_acceptor() as running:
        with pytest.raises(KeyError), _associate(running):
            raise KeyError
        assert running.service.wait_ending().kind is EndingKind.ABORTED_BY_PEER


def test_nobody_listening_is_told_in_words() -> None:
    """PeerUnreachable names title, host and port."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(
        PeerUnreachable, match=f"cannot connect to NOBODY@127.0.0.1:{port}: Connection refused"
    ):
        Association.request(RemoteAe("NOBODY", "127.0.0.1", port), calling_ae_title="SENDER")


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "."])
def test_a_host_name_that_cannot_be_is_told_in_words(host: str) -> None:
    """PeerUnreachable, not the UnicodeError of the codec."""
    with pytest.raises(PeerUnreachable, match="no host name, its parts have 1 to 63 characters"):
        Association.request(RemoteAe("NOBODY", host, 104), calling_ae_title="SENDER")


@pytest.mark.parametrize(
    ("title", "count", "words"),
    [
        ("SEVENTEEN-LETTERS", 1, "is no AE title"),
        ("", 1, "is no AE title"),
        ("OK", 0, "0 pres"),
        ("OK", 129, "129 pres"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_connecting(title: str, count: int, words: str) -> None:
    """ConfigurationError, without a socket."""
    with pytest.raises(ConfigurationError, match=words):
        Association.request(
            RemoteAe("ANY", "127.0.0.1", 1), calling_ae_title=title, contexts=[VERIFICATION] * count
        )


def test_a_port_in_use_is_told_in_words() -> None:
    """PortInUse for another listener, ConfigurationError for an address that is not ours."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {port} of 127\.0\.0\.1 is in use"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    with pytest.raises(ConfigurationError, match="70000"):
        listen("127.0.0.1", 70_000)
    with pytest.raises(ConfigurationError, match=r"cannot listen on 'a\.\.b'"):
        listen("a..b", 0)


def test_contexts_are_one_transfer_syntax_each_and_split_at_128() -> None:
    """In the order of first need, each pair once."""
    items = [
        StoreItem(f"1.2.{n // 2}", "1.9", f"1.3.{n % 2}", Path("x"), 0, 2) for n in (*range(300), *range(300))
    ]
    split = contexts_for(items)
    assert [len(each) for each in split] == [128, 128, 44]
    assert split[0][:3] == [("1.2.0", ("1.3.0",)), ("1.2.0", ("1.3.1",)), ("1.2.1", ("1.3.0",))]
    assert contexts_for([]) == []


def test_128_contexts_are_negotiated() -> None:
    """As many as there are ids."""
    contexts = [(f"1.2.840.{n}", ("1.2.840.10008.1.2.1",)) for n in range(128)]
    with (
        running_acceptor() as running,
        Association.request(running.remote, calling_ae_title="SENDER", contexts=contexts) as association,
    ):
        assert len(association.accepted) == 128
        assert association.accepted[("1.2.840.127", "1.2.840.10008.1.2.1")] == 255


def test_a_peer_gone_in_the_middle_is_an_aborted_association(tmp_path: Path) -> None:
    """The acceptor stops without grace while we send: we hear its A-ABORT, or the loss, and never a success."""
    limits = AcceptorLimits(linger_s=0.2, association_timeout_s=2, pdu_timeout_s=2)
    item = store_item(tmp_path / "x", bytes(50_000_000))
    with running_acceptor(limits=limits) as running:
        association = Association.request(
            running.remote, calling_ae_title="SENDER", contexts=[CT], timeouts=Timeouts(response_s=5, pdu_s=5)
        )
        sent = 0

        def stop_soon(count: int) -> None:
            nonlocal sent
            sent += count
            if 1_000_000 < sent < 1_300_000:
                running.acceptor.stop(0)

        with pytest.raises(AssociationAborted):
            association.store(item, pace=stop_soon)
        assert running.service.wait_ending().kind is EndingKind.STOPPED
        assert running.service.abandoned == [item.sop_instance_uid]


def test_over_the_limits_a_peer_is_told_to_come_later() -> None:
    """A-ASSOCIATE-RJ (2, 3, 2) for the third of two, in all or from one address."""
    for limits in (
        AcceptorLimits(max_associations=2, linger_s=0.2),
        AcceptorLimits(max_associations_per_peer=2, linger_s=0.2),
    ):
        with running_acceptor(limits=limits) as running, _associate(running), _associate(running) as second:
            for _ in range(3):
                with pytest.raises(AssociationRejected, match="for now: local limit exceeded"):
                    _associate(running)
            second.release()
            running.service.wait_ending()
            _eventually_associates(running)


@pytest.mark.parametrize("limits", [QUICK, AcceptorLimits(max_associations=0, linger_s=0.2)])
def test_an_address_that_is_not_admitted_is_told_not_to_come_again(limits: AcceptorLimits) -> None:
    """A-ASSOCIATE-RJ (1, 1, 1), also when there is no room: a stranger shall not try for ever."""
    with running_acceptor(MemoryService(admits=Admission.REFUSED), limits) as running:
        with pytest.raises(AssociationRejected, match=r"permanently: no reason given \(1, 1, 1\)") as caught:
            _associate(running)
        assert not caught.value.retryable
        assert running.acceptor.open_associations == 0


def _eventually_associates(running: Running) -> None:
    """The place of one that has ended is free as soon as its thread is gone."""
    for _ in range(100):
        try:
            _associate(running).release()
        except AssociationRejected:
            continue
        return
    pytest.fail("no place became free")
