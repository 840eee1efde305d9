"""Pulls from archives of others: DCMTK's dcmqrscp and Orthanc, by C-MOVE and C-GET."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicomrelay.ledger.values_pulls import PullState, StepKind
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from tests.support.archives import OTHER_STUDY, dcmqrscp, orthanc, store, write_study
from tests.support.pull_house import PullHouse, pull_house


@pytest.mark.dcmtk
@pytest.mark.parametrize("archive", [dcmqrscp, pytest.param(orthanc, marks=pytest.mark.long)])
def test_studies_come_whole_and_a_part_is_asked_for_by_its_uids(tmp_path: Path, archive: object) -> None:
    """First both studies; then, with two instances of one lost, only those. By C-MOVE, and from the beginning by C-GET."""
    files = write_study(tmp_path / "in") + write_study(tmp_path / "in", study=OTHER_STUDY, instances=4)
    (port,) = free_ports(1)
    target = RemoteAe("DICOMRELAY", "127.0.0.1", port)
    with archive(tmp_path / "archive", destination=target) as peer:  # type: ignore[operator]
        store(peer, files)
        address = f"{peer.remote.host}:{peer.remote.port}"
        with pull_house(tmp_path / "home", address, ae_title=peer.remote.ae_title, port=port) as house:
            for get in (False, True):
                house.empty()
                _whole(house, get=get)
                _two_that_are_lost(house, get=get)


def _whole(house: PullHouse, *, get: bool) -> None:
    row = house.run("PatientID=P1", get=get)
    assert (row.state, row.announced, row.here) == (PullState.COMPLETE, 7, 7)
    steps = house.rooms.ledger.pulls.steps(row.id, limit=9)
    assert [each.proof for each in steps if each.kind is StepKind.FETCH] == ["uids", "uids"]


def _two_that_are_lost(house: PullHouse, *, get: bool) -> None:
    lost = f"sop_instance_uid IN ('{OTHER_STUDY}.1.2', '{OTHER_STUDY}.1.4')"
    house.sql(f"DELETE FROM stages WHERE instance_id IN (SELECT id FROM instances WHERE {lost})")
    house.sql(f"DELETE FROM instances WHERE {lost}")
    before = len(house.sql("SELECT 1 FROM events WHERE kind = 'received'"))
    again = house.run(f"StudyInstanceUID={OTHER_STUDY}", "PatientID=P1", get=get)
    assert (again.state, again.here) == (PullState.COMPLETE, 4)
    told = house.sql("SELECT detail FROM events WHERE kind = 'received' ORDER BY id")[before:]
    assert sum(json.loads(str(detail))["instances"] for (detail,) in told) == 2
