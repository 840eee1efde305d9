"""The way of a retrieve's files: what is not sent, when it is given up, and that all of them are given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.delivery import Answer, Target
from dicomrelay.dicom.query_models import STUDY_ROOT
from dicomrelay.dicom.status import Outcome
from dicomrelay.dimse.messages import CMoveRequest
from dicomrelay.errors import AssociationError, SpoolCorrupt
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.requestor import RemoteAe
from scp_gateway.retrieve.counting import Counting
from scp_gateway.retrieve.files import RetrievedFiles
from scp_gateway.retrieve.moving import Mover
from scp_gateway.retrieve.port import MovePort
from scp_gateway.retrieve.sending import send_all
from scp_gateway.retrieve.targets import MoveTarget
from tests.support.archive import pydicom_file, request_for
from tests.support.peers import Script, scripted_peer

ABORTS = Script(storing="reset")


class Stored:
    """An instance as an archive names it."""

    def __init__(self, path: Path, uid: str) -> None:
        request = request_for(path)
        self.path = path
        self.sop_class_uid, self.sop_instance_uid = request.sop_class_uid, uid
        self.transfer_syntax_uid = request.transfer_syntax_uid
        self.data_set_offset, self.data_set_bytes = request.data_set_offset, request.data_set_bytes
        self.file_bytes, self.digest = path.stat().st_size, request.digest


class Archive:
    """Gives files, and knows which of them somebody has."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    @contextmanager
    def local_file(self, stored: Stored) -> Iterator[Path]:
        self.held.add(stored.sop_instance_uid)
        try:
            yield stored.path
        finally:
            self.held.discard(stored.sop_instance_uid)


def _files(archive: Archive, stored: list[Stored]) -> RetrievedFiles:
    port: Any = archive
    named: Any = stored
    return RetrievedFiles(port, named, ("ASKER", 1))


def _stored(count: int) -> list[Stored]:
    return [Stored(pydicom_file("CT_small.dcm"), f"1.2.{number}") for number in range(count)]


def _target(port: int) -> Target:
    return Target(
        RemotePeer(RemoteAe("SINK", "127.0.0.1", port), "OURS", Timeouts(connect_s=5, response_s=5))
    )


@pytest.mark.parametrize("change", [b"", b"more"])
def test_a_file_of_another_size_is_not_sent(tmp_path: Path, change: bytes) -> None:
    """What is behind the data set would not be missed by whoever sends it."""
    path = tmp_path / "a.dcm"
    path.write_bytes(pydicom_file("CT_small.dcm").read_bytes())
    stored = Stored(path, "1.2.3")
    path.write_bytes(path.read_bytes() + change)
    files = _files(Archive(), [stored])
    try:
        if not change:
            assert files.locate(files.instances[0]) == path
            return
        with pytest.raises(SpoolCorrupt, match="another size than the index knows"):
            files.locate(files.instances[0])
    finally:
        files.close()


def test_a_peer_that_ends_each_association_is_given_up() -> None:
    """After the second in a row; of what was not begun by then nothing is told, for nothing was sent."""
    files = _files(Archive(), _stored(6))
    answers: list[Answer] = []
    try:
        with scripted_peer(ABORTS) as peer, pytest.raises(AssociationError):
            send_all(
                files.instances, _target(peer.port),
                locate=files.locate, answered=answers.append, keep_going=lambda: True, pace=None,
            )  # fmt: skip
    finally:
        files.close()
    assert len(peer.associations) == 2
    assert [each.outcome for each in answers] == [Outcome.RETRY] * 2
    assert all("the association ended" in each.words for each in answers)


def test_a_move_gives_back_every_file_however_it_ends() -> None:
    """Those that were read ahead and never sent too: a cache may not drop what somebody has."""
    archive, over = Archive(), threading.Event()
    files = _files(archive, _stored(6))
    settings: Any = type("Settings", (), {"name": "sink", "max_bytes_per_s": None, "associations": 1})()
    with scripted_peer(ABORTS) as peer:
        counting = Counting(CMoveRequest(1, STUDY_ROOT.move, "SINK"), 6)
        mover = Mover(files, MoveTarget(settings, _target(peer.port)), counting, MovePort(), over.set)
        mover.start()
        assert mover.wait(30)
    assert over.is_set()
    assert counting.failed == 6
    assert archive.held == set()
