"""`dicomrelay report` and `trace` on a house that received, sent and archived; no word of theirs names a patient."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from dicomrelay.cli.main import cli
from dicomrelay.dicom.scan import Header
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger.engine import Database
from dicomrelay.net.service import StoreReply
from dicomrelay.runtime.home import ledger_url as url_of
from dicomrelay.spool import Provenance
from tests.support.engine import MemoryService, Running, running_acceptor
from tests.support.rooms import CT, EXPLICIT, data_set, rooms_at, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.keep import archive_batch, release_batch
from workers.rooms import Rooms

STUDY = "1.2.3"
CANARY = "CANARY^PATIENT"
_STEPS = ("received", "sent", "archived")
_RULES = '[[rules]]\nwhen = { modality = "CT" }\nsend_to = ["pacs"]\npriority = "urgent"\n'


@pytest.fixture
def peer() -> Iterator[Running]:
    with running_acceptor(MemoryService()) as running:
        yield running


@pytest.fixture
def rooms(tmp_path: Path, ledger_url: str, peer: Running) -> Iterator[Rooms]:
    """A home on that database, with one destination and one rule."""
    url = "embedded" if ledger_url.startswith("sqlite") else ledger_url
    toml = (
        f'[database]\nurl = "{url}"\n'
        f'[[destinations]]\nname = "pacs"\nae_title = "RELAY"\nhost = "127.0.0.1"\nport = {peer.port}\n{_RULES}'
    )
    with rooms_at(tmp_path / "home", toml) as (made, _):
        yield made


def element(tag: bytes, vr: bytes, value: bytes) -> bytes:
    return tag + vr + len(value).to_bytes(2, "little") + value


def receive(rooms: Rooms, uid: str, job_id: str = "") -> None:
    """Take an instance of the patient into the spool, as the gateway does."""
    writer = rooms.spool.writer(
        sop_class_uid=CT,
        sop_instance_uid=uid,
        transfer_syntax_uid=EXPLICIT,
        provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "in-1", 1_768_212_000_000, job_id),
    )
    plain = data_set(uid, STUDY)
    at = plain.index(b"\x20\x00\x0d\x00UI")
    name = element(b"\x10\x00\x10\x00", b"PN", CANARY.encode())
    patient_id = element(b"\x10\x00\x20\x00", b"LO", CANARY.encode())
    writer.write([memoryview(plain[:at] + name + patient_id + plain[at:])])
    writer.commit(Header(CT, uid, STUDY, f"{STUDY}.1", "CT"))


def go(rooms: Rooms, *, archive: bool = True) -> None:
    """Group, send and archive everything there is."""
    group_arrivals(rooms)
    for transfer in transfers_of(rooms):
        forward_transfer(rooms, transfer)
    if archive:
        archive_batch(rooms)


def run(rooms: Rooms, *arguments: str | Path) -> Result:
    result = CliRunner().invoke(
        cli, [*map(str, arguments), "--home", str(rooms.settings.home)], standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return result


def report(rooms: Rooms, subject: str, path: Path) -> Any:
    """Write a report, which must be whole; as JSON, whatever the format."""
    made = run(rooms, "report", subject, "-o", path)
    assert made.return_value in (ExitCode.OK, ExitCode.SOME_FAILED)
    told = made.stderr.partition("hash of this report: ")[2][:64]
    checked = run(rooms, "report", "--verify", path, "--against-ledger", "--hash", told)
    assert checked.return_value == ExitCode.OK
    if path.suffix == ".json":
        return json.loads(path.read_text())
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_report_says_what_was_sent_when_and_with_which_answer(
    rooms: Rooms, peer: Running, tmp_path: Path
) -> None:
    """Over a real association; the same in both formats."""
    for number in range(3):
        receive(rooms, f"1.2.9.{number}")
    go(rooms)
    document = report(rooms, STUDY, tmp_path / "r.json")
    total, pacs = document["summary"]
    assert (total["instances"], total["archived"], total["states"]) == (3, 3, {"delivered": 3})
    assert (pacs["destination"], pacs["attempts"]) == ("pacs", 3)
    for delivery in document["deliveries"]:
        assert delivery["state"] == "delivered"
        assert delivery["status"] == "0000"
        assert delivery["digest"] == delivery["received_digest"] != ""
        assert delivery["transfer_syntax_uid"] == EXPLICIT
        assert (delivery["called_ae_title"], delivery["address"]) == ("RELAY", f"127.0.0.1:{peer.port}")
        assert delivery["association_id"]
        assert delivery["archived_at"] >= delivery["received_at"]
        assert 0 <= delivery["ended_at"] - delivery["started_at"] < 60_000
    (came, *_) = (row["body"]["detail"] for row in document["evidence"] if row["kind"] == "received")
    assert (came["rules"], came["priority"], len(came["rules_version"])) == ("0", "urgent", 16)
    table = report(rooms, STUDY, tmp_path / "r.csv")
    assert [row["digest"] for row in table if row["record"] == "delivery"] == [
        delivery["digest"] for delivery in document["deliveries"]
    ]


def test_a_report_of_what_is_not_delivered_ends_with_1(rooms: Rooms, peer: Running) -> None:
    """On standard output too, with words on standard error; --json is the format as well."""
    peer.service.reply = StoreReply(0xC000, comment=f"no room for {CANARY}")
    receive(rooms, "1.2.9.1")
    go(rooms)
    result = run(rooms, "report", STUDY, "--json")
    assert result.return_value == ExitCode.SOME_FAILED
    (delivery,) = json.loads(result.stdout)["deliveries"]
    assert (delivery["state"], delivery["status"]) == ("refused", "C000")
    assert delivery["words"]
    assert "pacs: 1 refused" in result.stderr
    assert "hash of this report: " in result.stderr


def test_a_job_a_transfer_and_a_study_are_subjects_and_nothing_else(rooms: Rooms, tmp_path: Path) -> None:
    """A job's report has its own deliveries, and whole chains."""
    receive(rooms, "1.2.9.1")
    receive(rooms, "1.2.9.2", job_id="job-7")
    go(rooms)
    of_job = report(rooms, "job-7", tmp_path / "job.json")
    assert [each["sop_instance_uid"] for each in of_job["deliveries"]] == ["1.2.9.2"]
    assert {row["number"] for row in of_job["evidence"]} == set(range(1, 1 + of_job["chains"][0]["count"]))
    transfer = of_job["deliveries"][0]["transfer_id"]
    assert len(report(rooms, transfer, tmp_path / "t.json")["deliveries"]) == 1
    assert len(report(rooms, STUDY, tmp_path / "s.json")["deliveries"]) == 2
    with pytest.raises(ConfigurationError, match=r"no study, job or transfer 1\.2\.99"):
        run(rooms, "report", "1.2.99")
    with pytest.raises(ConfigurationError, match="not both"):
        run(rooms, "report")


def test_a_report_that_was_changed_is_found_and_one_that_went_on_is_not(rooms: Rooms, tmp_path: Path) -> None:
    """Exit code 4 and the row; rows that came since are no fault."""
    receive(rooms, "1.2.9.1")
    go(rooms)
    path = tmp_path / "r.csv"
    report(rooms, STUDY, path)
    receive(rooms, "1.2.9.2")
    go(rooms)
    result = run(rooms, "report", "--verify", path, "--against-ledger", "--json")
    told = json.loads(result.stdout)
    assert (result.return_value, told["whole"], told["rows_since"]) == (ExitCode.OK, True, 3)
    noted = run(rooms, "report", "--verify", path, "--hash", told["hash"])
    assert noted.return_value == ExitCode.OK
    other = run(rooms, "report", "--verify", path, "--hash", "0" * 64)
    assert other.return_value == ExitCode.INTEGRITY
    path.write_text(path.read_text().replace("1.2.9.1", "1.2.9.7"))
    changed = run(rooms, "report", "--verify", path)
    assert changed.return_value == ExitCode.INTEGRITY
    assert "NOT as it was written" in changed.stdout


def test_a_ledger_that_was_changed_shows_against_a_report_that_was_kept(rooms: Rooms, tmp_path: Path) -> None:
    """The report of before proves itself, and the ledger is another; a whole new chain and a shorter one alike."""
    receive(rooms, "1.2.9.1")
    go(rooms)
    path = tmp_path / "kept.json"
    report(rooms, STUDY, path)
    for change in (
        "UPDATE evidence SET hash = 'x' WHERE number = 3",
        "UPDATE studies SET evidence_count = 2",
    ):
        database = Database(url_of(rooms.settings))
        with database.write() as work:
            work.connection.execute(text(change))
        database.dispose()
        assert run(rooms, "report", "--verify", path).return_value == ExitCode.OK
        result = run(rooms, "report", "--verify", path, "--against-ledger")
        assert result.return_value == ExitCode.INTEGRITY
        assert f"study {STUDY}" in result.stdout


def test_a_file_that_cannot_be_written_or_read_is_named(rooms: Rooms, tmp_path: Path) -> None:
    """And nothing is left where it was to be."""
    receive(rooms, "1.2.9.1")
    go(rooms)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        run(rooms, "report", STUDY, "-o", tmp_path / "no" / "r.csv")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        run(rooms, "report", "--verify", tmp_path / "none.csv")
    report(rooms, STUDY, tmp_path / "r.csv")
    assert sorted(
        path.name for path in tmp_path.iterdir() if path.is_file() and "sqlite" not in path.name
    ) == ["r.csv"]
    assert (tmp_path / "r.csv").stat().st_mode & 0o077 == 0


def traced(rooms: Rooms, uid: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(rooms, "trace", uid, "--json").stdout)
    return found


def test_a_trace_tells_every_step_of_an_instance(rooms: Rooms, peer: Running) -> None:
    """Refused at first, taken after a retry; with times in order."""
    peer.service.reply = StoreReply(0xC000)
    receive(rooms, "1.2.9.1")
    receive(rooms, "1.2.9.2")
    go(rooms, archive=False)
    told = traced(rooms, "1.2.9.1")
    (delivery,) = told["deliveries"]
    assert "dicomrelay jobs retry" in delivery["next"]
    assert told["instances"][0]["open"] == "to be archived"
    assert rooms.ledger.reopen_transfer(delivery["transfer_id"])
    peer.service.reply = StoreReply(0x0000)
    go(rooms)
    told = traced(rooms, "1.2.9.1")
    assert [step["kind"] for step in told["steps"]] == [
        "received",
        "transfer_made",
        "transfer_claimed",
        "sent",
        "attempt_ended",
        "reopened",
        "transfer_claimed",
        "sent",
        "transfer_done",
        "archived",
    ]
    assert [step["at"] for step in told["steps"]] == sorted(step["at"] for step in told["steps"])
    assert {step["instance_id"] for step in told["steps"]} == {"", delivery["instance_id"]}
    assert told["deliveries"][0]["next"] == ""
    lines = run(rooms, "trace", "1.2.9.1").stdout
    assert "refused C000" in lines
    assert "delivered 0000 Success" in lines
    assert "by rule 0 of" in lines


def test_a_trace_of_a_study_tells_alike_steps_once(rooms: Rooms) -> None:
    """Study and series; what nothing here has is an error that names it."""
    for number in range(12):
        receive(rooms, f"1.2.9.{number}")
    go(rooms)
    for uid, level in ((STUDY, "study"), (f"{STUDY}.1", "series")):
        told = traced(rooms, uid)
        assert (told["level"], len(told["instances"]), len(told["steps"])) == (level, 12, 12 * 3 + 3)
        lines = run(rooms, "trace", uid).stdout.splitlines()
        assert len(lines) == 12, "and 36 steps of instances"
        assert ["12 instances" in line for line in lines if any(step in line for step in _STEPS)] == [
            True
        ] * 3
    with pytest.raises(ConfigurationError, match=r"UID 1\.2\.99"):
        run(rooms, "trace", "1.2.99")


def test_a_trace_says_where_the_bytes_lie_without_the_patient(rooms: Rooms) -> None:
    """A path with a * that finds the one file, in the spool while it is there; then in the archive alone."""
    receive(rooms, "1.2.9.1")
    go(rooms)
    home = rooms.settings.home
    archived, spooled = traced(rooms, "1.2.9.1")["instances"][0]["places"]
    assert archived == "archive: data/*/1.2.3/1.2.3.1/1.2.9.1.dcm"
    (file,) = (home / "archive").glob(archived.partition(": ")[2])
    assert file.is_file()
    assert "CANARY" in str(file), "else this test proves nothing"
    assert (home / spooled.partition(": ")[2]).is_file()
    assert release_batch(rooms) == 1
    assert traced(rooms, "1.2.9.1")["instances"][0]["places"] == [archived]


def test_neither_report_nor_trace_names_a_patient(rooms: Rooms, peer: Running, tmp_path: Path) -> None:
    """The name is in the data set, in the archive's path, and in what the peer says of each status."""
    for number, status in enumerate((0xA700, 0xC000, 0xB000)):
        peer.service.reply = StoreReply(status, comment=CANARY)
        receive(rooms, f"1.2.9.{number}")
        go(rooms)
    reasons = [row.reason for row in rooms.ledger.needs_attention()]
    assert any(CANARY in reason for reason in reasons), "else this test proves nothing"
    for name in ("r.csv", "r.json"):
        report(rooms, STUDY, tmp_path / name)
    said = [(tmp_path / "r.csv").read_text(), (tmp_path / "r.json").read_text()]
    for uid in (STUDY, "1.2.9.1"):
        said += [run(rooms, "trace", uid).output, run(rooms, "trace", uid, "--json").output]
    assert not [text for text in said if "CANARY" in text.upper()]


def test_an_empty_home_is_said_to_be_empty_and_a_report_needs_none(
    rooms: Rooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--verify makes no folder and asks no database."""
    receive(rooms, "1.2.9.1")
    go(rooms)
    report(rooms, STUDY, tmp_path / "r.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("DICOMRELAY_HOME", raising=False)
    result = CliRunner().invoke(cli, ["report", "--verify", str(tmp_path / "r.json")], standalone_mode=False)
    assert result.return_value == ExitCode.OK
    assert os.listdir(elsewhere) == []
    for command in ("report", "trace"):
        result = CliRunner().invoke(cli, [command, STUDY], standalone_mode=False)
        assert isinstance(result.exception, ConfigurationError)
        assert "nothing has run here yet" in str(result.exception)
    assert os.listdir(elsewhere) == []
