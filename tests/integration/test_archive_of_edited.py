"""The edited copy in the archive in place of the original: rules that send to our own gateway, as the page has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from dicomrelay.dicom.scan import Header
from dicomrelay.runtime.ports import free_ports
from dicomrelay.spool import Provenance
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT
from tests.support.edits import KEY, SECRETS, encoded, person
from tests.support.gateway import running
from tests.support.markdown import ROOT, blocks
from tests.support.rooms import rooms_at, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.keep import archive_batch, release_batch

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = ROOT / "docs" / "howto" / "change-what-goes-out.md"
UID = "1.2.826.0.1.11.1"


def test_the_archive_keeps_the_edited_copy_by_the_rules_of_the_page(tmp_path: Path) -> None:
    """It comes by our own door, is archived and goes no further; the original leaves the spool and was never archived."""
    home, key, (port,) = tmp_path / "home", tmp_path / "key", free_ports(1)
    key.write_bytes(KEY.secret)
    key.chmod(0o600)
    (text,) = [block.text for block in blocks(PAGE) if 'name = "ourselves"' in block.text]
    toml = text.replace("/etc/dicomrelay/research.key", str(key)).replace("11112", str(port))
    with rooms_at(home, toml) as (rooms, _), running(home, port=port):
        writer = rooms.spool.writer(
            sop_class_uid=CT_IMAGE_STORAGE,
            sop_instance_uid=UID,
            transfer_syntax_uid=EXPLICIT,
            provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "a1", 1, ""),
        )
        writer.write([memoryview(encoded(person(), EXPLICIT))])
        writer.commit(Header(CT_IMAGE_STORAGE, UID, "1.2.826.0.1.11.2", "1.2.826.0.1.11.3", "CT"))
        group_arrivals(rooms)
        assert (archive_batch(rooms), release_batch(rooms)) == (0, 0)
        (transfer,) = transfers_of(rooms)
        forward_transfer(rooms, transfer)
        group_arrivals(rooms)
        assert archive_batch(rooms) == 1
        assert transfers_of(rooms) == []
        assert release_batch(rooms) == 2
        assert not rooms.ledger.waiting()
        assert not [*(home / "spool").rglob("*.dcm")]
        (kept,) = (home / "archive" / "data").rglob("*.dcm")
    found = dcmread(kept)
    assert (found.SOPInstanceUID, found.PatientIdentityRemoved) == (KEY.uid(UID), "YES")
    assert not any(secret.encode() in kept.read_bytes() for secret in SECRETS)
