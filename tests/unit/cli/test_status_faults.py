"""What is wrong with the relay's own files is told by status and doctor, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from archive import Archive
from archive.import_batch import FileOutcome
from archive.importing import import_files
from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.checks.storage import check_spool
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime.home import HomeLock, ledger_url
from tests.support.archive import pydicom_file
from tests.support.integrity import Home, whole_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with whole_home(tmp_path) as made:
        yield made


def test_a_spool_without_its_name_is_a_fault(home: Home) -> None:
    """Status in words and for machines, and doctor."""
    assert json.loads(home.status("--json")[1])["faults"] == []
    home.settings.path("spool", "identity").write_bytes(b"\0")
    code, said = home.status()
    assert code == 4
    assert "holds no name of a spool (it is damaged)" in said
    code, said = home.status("--json")
    (fault,) = json.loads(said)["faults"]
    assert "dicomrelay repair" in fault["do"]
    found = list(check_spool(home.settings))
    assert [each for each in found if each.verdict is Verdict.FAILED and "dicomrelay repair" in each.do]


def test_an_archive_that_the_ledger_does_not_know_is_told(home: Home) -> None:
    """After a ledger was lost and made anew."""
    home.settings.path("db", "ledger.sqlite").unlink()
    migrate(ledger_url(home.settings))
    code, said = home.status()
    assert code == 4
    assert "the archive holds at least 7 instances that the ledger does not know" in said
    assert home.repair()
    assert home.status()[1].count("does not know") == 0


def test_what_was_imported_is_no_fault(home: Home, tmp_path: Path) -> None:
    """An import is an ordinary state: a note, and the exit code is what it was."""
    before, _ = home.status()
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("MR_small_RLE.dcm", "CT_small.dcm"):
        shutil.copy(pydicom_file(name), folder)
    with closing(Archive.open(home.settings.archive_path)) as archive:
        report = import_files(archive, [folder], workers=1)
    assert report.counts[FileOutcome.STORED] == 2

    code, said = home.status()
    told = json.loads(home.status("--json")[1])

    assert (code, told["faults"]) == (before, [])
    assert "not all is well" not in said
    assert (
        "note    the archive holds at least 1 instances that the ledger does not know: files were imported"
        in said
    )
    (note,) = told["notes"]
    assert "files were imported" in note


@pytest.mark.parametrize("runs", [True, False])
def test_a_ledger_that_is_gone_is_not_one_that_never_was(home: Home, runs: bool) -> None:
    home.settings.path("db", "ledger.sqlite").unlink()
    lock = HomeLock(home.settings)
    if runs:
        lock.take()
    words = "`dicomrelay up` runs" if runs else "run `dicomrelay repair`"
    with (
        pytest.raises(ServiceUnavailable, match=f"the ledger is gone, and .*{words}"),
        opened_ledger(home.settings),
    ):
        pass
    lock.release()
