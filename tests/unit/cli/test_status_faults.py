"""What is wrong with the relay's own files is told by status and doctor, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.checks.storage import check_spool
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger import migrate
from dicomrelay.runtime.home import HomeLock, ledger_url
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
