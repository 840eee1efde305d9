"""A C-MOVE that waits for its turn holds no selection in memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import STUDY_ROOT
from dicomrelay.dimse.identifier import encode_identifier
from dicomrelay.dimse.messages import CMoveRequest, CMoveResponse
from dicomrelay.net.service import RequestedOperation
from dicomrelay.settings import Settings
from scp_gateway.retrieve.retrieve import Retrieve

EXPLICIT = "1.2.840.10008.1.2.1"


class Instance:
    """What an archive names; weakly referable."""

    sop_class_uid = "1.2.840.10008.5.1.4.1.1.2"
    sop_instance_uid = "1.2.3"
    transfer_syntax_uid = EXPLICIT
    data_set_offset, data_set_bytes, file_bytes = 100, 100, 200


class Archive:
    """Selects the same instances each time, and knows which of them somebody holds."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.held: weakref.WeakSet[Instance] = weakref.WeakSet()

    def select(self, **_: object) -> Iterator[Instance]:
        for _number in range(self.count):
            each = Instance()
            self.held.add(each)
            yield each


def _retrieve(archive: Any, home: Path, **more: object) -> Retrieve:
    sink = {"name": "sink", "ae_title": "SINK", "host": "127.0.0.1", "port": 1}
    retrieve = {"max_moves": 1, "wait_s": 60, **more}
    return Retrieve(Settings(home=home, destinations=[sink], retrieve=retrieve), archive)  # type: ignore[arg-type]


def _move(retrieve: Retrieve) -> Iterator[Any]:
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", "1.2"
    request = CMoveRequest(1, STUDY_ROOT.move, "SINK")
    operation = RequestedOperation(request, 1, encode_identifier(keys, EXPLICIT), EXPLICIT)
    association: Any = SimpleNamespace(id="a", calling_ae_title="X", called_ae_title="Y")
    return iter(retrieve.move(association, operation))


def test_a_move_that_waits_holds_nothing(tmp_path: Path) -> None:
    """It knows how many there are, and asks for them again when it is its turn."""
    archive = Archive(500)
    retrieve = _retrieve(archive, tmp_path)
    assert retrieve._turns.take("other", 1, 0)

    waiting = [_move(retrieve) for _ in range(3)]
    for each in waiting:
        assert next(each) is None
    assert len(archive.held) <= 3
    told = next(answer for answer in waiting[0] if answer is not None)
    assert isinstance(told.response, CMoveResponse)
    assert (told.response.status, told.response.remaining) == (0xFF00, 500)


def test_a_turn_that_comes_to_nothing_is_given_back(tmp_path: Path) -> None:
    """Nothing is found, or too much; and while another one has the turn, that is told at once."""
    empty = _retrieve(Archive(0), tmp_path)
    full = _retrieve(Archive(11), tmp_path, max_instances=10)
    for retrieve, status in ((empty, 0x0000), (full, 0xA701)):
        assert [answer.response.status for answer in _move(retrieve)] == [status]
        assert list(retrieve._turns) == []
        assert retrieve._turns.take("other", 1, 0)
        assert [answer.response.status for answer in _move(retrieve)] == [status]
