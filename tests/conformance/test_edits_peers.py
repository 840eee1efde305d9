"""Edited copies of real files, as DCMTK takes and reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.dicom.status import Outcome
from dicomrelay.edits.values import BurnedIn
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.requestor import RemoteAe
from tests.support.data_sets import real_files
from tests.support.edits import KEY, basic
from tests.support.house import storescp

pytestmark = [pytest.mark.dcmtk, pytest.mark.filterwarnings("ignore")]


def _one_of_each(most: int = 16) -> list[Instance]:
    """The smallest clean file of each SOP class in the corpus that storescp took as it was."""
    found: dict[str, tuple[int, Instance]] = {}
    for path, row in real_files("corpus"):
        if (row["parse"], row["expect"], row["dcmtk_cstore"]) != ("part10", "clean", "stored"):
            continue
        meta = parse_file_meta(path.read_bytes()[:65_536])
        offset, size = meta.data_set_offset, path.stat().st_size
        item = StoreItem(
            meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid, path, offset, size - offset
        )
        known = found.get(meta.sop_class_uid)
        if item.data_set_bytes % 2 == 0 and (known is None or size < known[0]):
            found[meta.sop_class_uid] = size, Instance(meta.sop_instance_uid, item)
    return [instance for _, instance in sorted(found.values(), key=lambda each: each[0])][:most]


def test_dcmtk_stores_and_reads_what_was_de_identified(tmp_path: Path) -> None:
    """Each of another SOP class; dcmdump finds no fault, and every one has the UID that the association said."""
    instances, answers = _one_of_each(), list[Answer]()
    assert len(instances) >= 12
    profile = basic("modified_dates", burned_in=BurnedIn.SEND, names_may_be_left=True)
    with storescp("ONE", tmp_path / "got", "+x=") as server:
        peer = RemotePeer(RemoteAe(server.ae_title, "127.0.0.1", server.port), "SENDER")
        deliver(
            instances,
            Target(peer, copies=tmp_path / "copies", edits=(profile,)),
            locate=lambda instance: instance.item.path,
            answered=answers.append,
            keep_going=lambda: True,
        )
        delivered = {each.sop_instance_uid for each in answers if each.outcome is Outcome.DELIVERED}
        files = list(server.files())
    assert len(files) == len(delivered) >= 12
    for path in files:
        read = subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, check=False)
        assert read.returncode == 0, (path, read.stderr)
        found = dcmread(path)
        assert found.SOPInstanceUID in delivered
        assert KEY.is_our_uid(found.SOPInstanceUID)
        assert found.PatientIdentityRemoved == "YES"
