"""The ledger's file is deleted under a relay at work: nobody goes on with what has no name, and nothing is lost by it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from tests.support.house import House, a_home, require, wait_for
from tests.support.rooms import CT, EXPLICIT, data_set

pytestmark = [pytest.mark.dcmtk, pytest.mark.slow, pytest.mark.timeout(300)]


def _send(house: House, folder: Path, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    paths = []
    for number in numbers:
        uid = f"1.2.7.{number}"
        meta = encode_file_meta(
            FileMeta(sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax_uid=EXPLICIT)
        )
        path = folder / f"{uid}.dcm"
        path.write_bytes(meta + data_set(uid, study="1.2.7"))
        paths.append(path)
    gateway = house.settings.gateway
    argv = [require("storescu"), "-aec", gateway.ae_title, "127.0.0.1", str(gateway.port), *map(str, paths)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


def _archived(house: House) -> set[str]:
    path = house.home / "db" / "ledger.sqlite"
    if not path.exists() or not path.stat().st_size:
        return set()
    # Its tables come with the commit of the migration.
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=10)) as ledger:
        found = ledger.execute("SELECT sop_instance_uid FROM instances WHERE archive_path <> ''")
        return {row[0] for row in found}
    return set()


def _uids(*numbers: int) -> set[str]:
    return {f"1.2.7.{number}" for number in numbers}


@pytest.mark.long
def test_a_ledger_that_is_deleted_under_the_relay_comes_back_by_itself(tmp_path: Path) -> None:
    """What was in the spool is known again and what comes is registered there, without a restart; status says the rest."""
    with a_home("[retention]\nspool_days = 0\n", quiet_seconds=0.2) as house:
        house.start()
        try:
            _send(house, tmp_path / "files", 1, 2, 3)
            wait_for(lambda: _archived(house) == _uids(1, 2, 3), timeout_s=60, what="three are archived")
            kept = house.home / "spool" / "kept"
            wait_for(lambda: not list(kept.rglob("*.dcm")), timeout_s=60, what="the spool is released")

            (house.home / "db" / "ledger.sqlite").unlink()
            _send(house, tmp_path / "files", 4, 5)

            wait_for(
                lambda: _archived(house) == _uids(4, 5), timeout_s=60, what="what came since is archived"
            )
            assert "removed or replaced" in (house.home / "logs" / "scheduler.log").read_text("utf-8")
            status = house.run("status", "--json")
            assert status.returncode == 4, status.stdout + status.stderr
            assert "at least 3 instances" in json.loads(status.stdout)["faults"][0]["words"]
            assert house.run("repair").returncode == 0
            assert _archived(house) == _uids(1, 2, 3, 4, 5)
            assert house.run("status").returncode == 0
        finally:
            house.stop()


@pytest.mark.long
def test_status_says_that_the_ledger_is_gone_and_not_that_nothing_has_run() -> None:
    """Beside a relay that runs, and without one."""
    with a_home() as house:
        house.start()
        house.stop()
        (house.home / "db" / "ledger.sqlite").unlink()
        said = house.run("status")

    assert said.returncode == 3
    assert "the ledger is gone" in said.stderr
    assert "dicomrelay repair" in said.stderr
