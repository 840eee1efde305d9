"""diff against peers that are not ours: DCMTK's dcmqrscp and Orthanc; and one of pynetdicom that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from archive import Archive
from archive.attributes import Level
from archive.differing import Difference, DifferenceKind, diff
from archive.values import Selection
from dicomrelay.errors import ConfigurationError, PeerUnreachable
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from tests.support.archives import dcmqrscp, orthanc, store
from tests.support.exports import instance, stored

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
HERE, THERE = DifferenceKind.ONLY_HERE, DifferenceKind.ONLY_THERE


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = Archive.open(tmp_path / "archive")
    yield opened
    opened.close()


def peer_at(remote: RemoteAe) -> RemotePeer:
    return RemotePeer(remote, "US", Timeouts(response_s=20))


def short(difference: Difference) -> tuple[str, str]:
    """The kind and the UID of the lowest level."""
    uid = difference.sop_instance_uid or difference.series_instance_uid or difference.study_instance_uid
    return difference.kind.value, uid


@pytest.mark.dcmtk
@pytest.mark.parametrize("kind", ["dcmqrscp", "orthanc"])
def test_against_an_archive_of_others(archive: Archive, tmp_path: Path, kind: str) -> None:
    """A study, a series and an instance that one of the two has not; the rest is not told."""
    source = tmp_path / "in"
    both = [instance(source, 1, series, number) for series in (1, 2) for number in (1, 2)]
    here = [
        instance(source, 2, 1, 1),  # a study
        instance(source, 1, 3, 1),  # a series
        instance(source, 1, 1, 3),  # an instance
    ]
    there = [
        instance(source, 3, 1, 1),
        instance(source, 1, 4, 1),
        instance(source, 1, 1, 4),
        instance(source, 1, 2, 9),
    ]
    stored(archive, [*both, *here])
    with {"dcmqrscp": dcmqrscp, "orthanc": orthanc}[kind](tmp_path / "peer") as other:
        store(other, [*both, *there])
        told: list[int] = []
        peer = peer_at(other.remote)
        found = [*diff(archive, peer, on_progress=told.append)]
        assert {short(each) for each in found} == {
            ("only here", "1.2.2"),
            ("only there", "1.2.3"),
            ("only here", "1.2.1.3"),
            ("only there", "1.2.1.4"),
            ("only here", "1.2.1.1.3"),
            ("only there", "1.2.1.1.4"),
            ("only there", "1.2.1.2.9"),
        }
        assert len(found) == 7
        assert told[-1] == 3
        by_uid = {short(each)[1]: each for each in found}
        assert (by_uid["1.2.2"].level, by_uid["1.2.2"].here_instances) == (Level.STUDY, 1)
        assert by_uid["1.2.1.3"].level is Level.SERIES

        one = [*diff(archive, peer, Selection(study_uids=("1.2.2", "1.2.3")))]
        assert {short(each) for each in one} == {("only here", "1.2.2"), ("only there", "1.2.3")}
        assert [*diff(archive, peer, Selection(patient_id="nobody"))] == []


@pytest.mark.dcmtk
def test_counts_are_trusted_only_if_asked(archive: Archive, tmp_path: Path) -> None:
    """As many here and there, and not the same: found by looking, passed by when the counts are to do."""
    source = tmp_path / "in"
    stored(archive, [instance(source, 1, 1, number) for number in (1, 2)])
    with orthanc(tmp_path / "peer") as other:
        store(other, [instance(source, 1, 1, number) for number in (2, 3)])
        peer = peer_at(other.remote)
        assert [short(each) for each in diff(archive, peer)] == [
            ("only here", "1.2.1.1.1"),
            ("only there", "1.2.1.1.3"),
        ]
        assert [*diff(archive, peer, trust_counts=True)] == []


def answer(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


Handler = Callable[[evt.Event], Iterator[tuple[int, Dataset | None]]]


@contextmanager
def answering(handler: Handler) -> Iterator[RemotePeer]:
    """pynetdicom, that answers C-FIND as told."""
    (port,) = free_ports(1)
    ae = AE("ODD")
    ae.add_supported_context(FIND)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, handler)])
    try:
        yield peer_at(RemoteAe("ODD", "127.0.0.1", port))
    finally:
        server.shutdown()


def test_a_list_that_ends_early_is_told(archive: Archive, tmp_path: Path) -> None:
    """Out of resources after one study: it is compared, ours are asked for by their UIDs, and the rest is not silent."""
    stored(archive, [instance(tmp_path / "in", 1, 1, 1)])

    def handle(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        if asked.QueryRetrieveLevel == "STUDY" and not asked.StudyInstanceUID:
            yield 0xFF00, answer(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.7")
            yield 0xA700, None

    with answering(handle) as peer:
        found = [*diff(archive, peer)]
    assert [(each.kind, each.study_instance_uid) for each in found] == [
        (DifferenceKind.NOT_COMPARED, ""),
        (HERE, "1.2.1"),
        (THERE, "1.2.7"),
    ]
    assert "0xA700" in found[0].reason


def test_answers_about_something_else_are_not_taken(archive: Archive, tmp_path: Path) -> None:
    """A peer that ignores keys, or sends what is no UID: that study is not compared, and it is said."""
    stored(archive, [instance(tmp_path / "in", 1, 1, 1)])

    def handle(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        level = event.identifier.QueryRetrieveLevel
        if level == "STUDY":
            yield 0xFF00, answer(QueryRetrieveLevel=level, StudyInstanceUID="1.2.1")
        else:
            yield 0xFF00, answer(QueryRetrieveLevel=level, StudyInstanceUID="9.9", SeriesInstanceUID="9.9.1")
            yield 0xFF00, answer(QueryRetrieveLevel=level, StudyInstanceUID="1.2.1", SeriesInstanceUID="../x")

    with answering(handle) as peer:
        [found] = diff(archive, peer)
    assert (found.kind, found.level, found.study_instance_uid) == (
        DifferenceKind.NOT_COMPARED,
        Level.STUDY,
        "1.2.1",
    )
    assert "2 answers" in found.reason


def test_an_association_that_died_is_opened_again(archive: Archive, tmp_path: Path) -> None:
    """A peer that aborts every second question is asked twice; no difference is told twice."""
    stored(archive, [instance(tmp_path / "in", study, 1, 1) for study in (1, 2, 3)])
    calls = [0]

    def handle(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        calls[0] += 1
        if calls[0] % 2 == 0:
            event.assoc.abort()
            return
        level = event.identifier.QueryRetrieveLevel
        study = event.identifier.StudyInstanceUID
        if level == "STUDY":
            for number in (1, 2, 3):
                yield 0xFF00, answer(QueryRetrieveLevel=level, StudyInstanceUID=f"1.2.{number}")
        elif level == "SERIES":
            yield (
                0xFF00,
                answer(QueryRetrieveLevel=level, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1"),
            )
        else:
            series = event.identifier.SeriesInstanceUID
            for number in (1, 2):
                yield (
                    0xFF00,
                    answer(
                        QueryRetrieveLevel=level,
                        StudyInstanceUID=study,
                        SeriesInstanceUID=series,
                        SOPInstanceUID=f"{series}.{number}",
                        SOPClassUID="1.2.840.10008.5.1.4.1.1.4",
                    ),
                )

    with answering(handle) as peer:
        found = [short(each) for each in diff(archive, peer)]
    assert sorted(found) == sorted(
        difference
        for study in (1, 2, 3)
        for difference in (("differing", f"1.2.{study}.1.1"), ("only there", f"1.2.{study}.1.2"))
    )
    assert calls[0] > 7


def test_what_cannot_be_asked_is_refused(archive: Archive) -> None:
    """Before anybody is called; and nobody there is an error, not an answer."""
    (port,) = free_ports(1)
    nobody = peer_at(RemoteAe("NOBODY", "127.0.0.1", port))
    for selection in (Selection(series_uids=("1.2",)), Selection(matches={"InstanceNumber": "1"})):
        with pytest.raises(ConfigurationError):
            [*diff(archive, nobody, selection)]
    with pytest.raises(PeerUnreachable):
        [*diff(archive, nobody)]
