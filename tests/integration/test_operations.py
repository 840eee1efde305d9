"""`dicomrelay jobs` on a running house: hold, release, cancel, retry and replay, seen from the destination's end."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from pydicom.uid import generate_uid
from pynetdicom import AE, StoragePresentationContexts, evt

from dicomrelay.ledger import DestinationSummary, Ledger, TransferState
from dicomrelay.runtime.home import ledger_url
from dicomrelay.runtime.ports import free_ports
from tests.support.house import House, a_home, wait_for

pytestmark = pytest.mark.timeout(300)

_SAMPLE = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"
_QUIET_S = 2.0


@dataclass
class Destination:
    """A pynetdicom receiver that answers as it is told, and remembers in which order what came."""

    port: int
    pause_s: float = 0.0
    status: int = 0x0000
    came: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, event: evt.Event) -> int:
        """Take an instance, after a pause."""
        time.sleep(self.pause_s)
        uid = str(event.request.AffectedSOPInstanceUID)
        with self._lock:
            self.came.append(uid)
            self.digests[uid] = hashlib.sha256(event.request.DataSet.getvalue()).hexdigest()
        return self.status


@contextmanager
def _destination(ae_title: str) -> Iterator[Destination]:
    destination = Destination(free_ports(1)[0])
    ae = AE(ae_title)
    ae.supported_contexts = StoragePresentationContexts
    ae.add_supported_context("1.2.840.10008.1.1")
    handlers = [(evt.EVT_C_STORE, destination.store)]
    server = ae.start_server(("127.0.0.1", destination.port), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield destination
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def one() -> Iterator[Destination]:
    with _destination("ONE") as destination:
        yield destination


@pytest.fixture(scope="module")
def two() -> Iterator[Destination]:
    with _destination("TWO") as destination:
        yield destination


@pytest.fixture(scope="module")
def house(one: Destination, two: Destination) -> Iterator[House]:
    """A house that knows the first of them; the second one is only an address."""
    toml = (
        f'[[destinations]]\nname = "one"\nae_title = "ONE"\nhost = "127.0.0.1"\nport = {one.port}\n'
        "associations = 1\n"
    )
    with a_home(toml) as running:
        running.start()
        yield running


@pytest.fixture(scope="module")
def ledger(house: House) -> Iterator[Ledger]:
    """The same ledger, looked at without the time that a command takes to start."""
    opened = Ledger.open(ledger_url(house.settings))
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _as_new(one: Destination, two: Destination) -> None:
    for each in (one, two):
        each.pause_s, each.status = 0.0, 0x0000
        each.came.clear()


def _study(folder: Path, count: int, study: str = "") -> tuple[str, list[str]]:
    """A study of so many instances as files: its UID, and those of its instances."""
    folder.mkdir(parents=True, exist_ok=True)
    ds = pydicom.dcmread(_SAMPLE)
    ds.StudyInstanceUID = study or generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    uids = []
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(folder / f"{number}.dcm")
        uids.append(str(ds.SOPInstanceUID))
    return str(ds.StudyInstanceUID), uids


def _submit(house: House, folder: Path) -> str:
    sent = house.run("send", str(folder), "--to", "one", "--no-wait")
    assert sent.returncode == 0, sent.stderr
    return sent.stdout.strip()


def _jobs(house: House, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = house.run("jobs", *arguments, "--json")
    assert done.returncode == code, done.stderr + done.stdout
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def _deliveries(ledger: Ledger, subject: str) -> DestinationSummary:
    """What became of a job, or of a study."""
    if "-" in subject:
        (found,) = ledger.job_progress(subject).destinations
    else:
        (study,) = ledger.studies(study_instance_uid=subject)
        (found,) = study.destinations
    return found


def _stays(came: Sequence[str], seconds: float) -> int:
    """How many have come, after a while in which it must be no more than one that was under way."""
    time.sleep(1)
    before = len(came)
    time.sleep(seconds)
    assert len(came) == before
    return before


def test_held_in_the_middle_nothing_is_sent_and_released_all_is_and_none_twice(
    house: House, ledger: Ledger, one: Destination, tmp_path: Path
) -> None:
    """The runner stops, what it had an answer for counts, and the rest follows at the release."""
    one.pause_s = 0.1
    _, uids = _study(tmp_path / "study", 80)
    job = _submit(house, tmp_path / "study")
    wait_for(lambda: len(one.came) > 5, timeout_s=30, what="some have come")

    held = _jobs(house, "hold", job)
    came = _stays(one.came, _QUIET_S)

    assert came < 80
    assert held["results"][0]["changed"][0]["after"] == "held"
    assert held["results"][0]["orders"][0]["kind"] == "hold"
    counts = _deliveries(ledger, job)
    assert (counts.delivered, counts.held) == (came, 80 - came)
    one.pause_s = 0.0
    released = _jobs(house, "release", job)
    assert released["results"][0]["transfers"] > 0
    wait_for(lambda: len(one.came) >= 80, timeout_s=60, what="all have come")
    wait_for(lambda: _deliveries(ledger, job).delivered == 80, timeout_s=30, what="all are delivered")
    assert sorted(one.came) == sorted(uids), "each came once"


def test_what_is_submitted_of_a_held_study_waits_for_its_release(
    house: House, ledger: Ledger, one: Destination, tmp_path: Path
) -> None:
    """Also when it comes as another job, and with its archive copy made as ever."""
    study, uids = _study(tmp_path / "first", 1)
    job = _submit(house, tmp_path / "first")
    wait_for(lambda: one.came == uids, timeout_s=30, what="the first has come")
    _jobs(house, "hold", study)
    _, more = _study(tmp_path / "second", 20, study)
    _submit(house, tmp_path / "second")
    wait_for(lambda: _deliveries(ledger, study).held == 20, timeout_s=30, what="what came later is held")

    assert _stays(one.came, _QUIET_S) == 1
    assert [row["id"] for row in _jobs(house, "list", "--state", "held")["jobs"]] != [job]
    wait_for(
        lambda: len(list((house.home / "archive" / "data").rglob(f"{study}/*/*.dcm"))) == 21,
        timeout_s=30,
        what="all are archived",
    )
    _jobs(house, "release", study)
    wait_for(lambda: sorted(one.came) == sorted(uids + more), timeout_s=60, what="all have come")


def test_cancelled_in_the_middle_the_rest_is_never_sent_and_the_account_is_true(
    house: House, ledger: Ledger, one: Destination, tmp_path: Path
) -> None:
    """What the destination has is called delivered, and nothing else is; replay sends the rest after all."""
    one.pause_s = 0.1
    _, uids = _study(tmp_path / "study", 80)
    job = _submit(house, tmp_path / "study")
    wait_for(lambda: len(one.came) > 5, timeout_s=30, what="some have come")

    refused = house.run("jobs", "cancel", job)
    cancelled = _jobs(house, "cancel", job, "--yes")
    came = _stays(one.came, _QUIET_S)

    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert {row["after"] for row in cancelled["results"][0]["changed"]} == {"cancelled"}
    counts = _deliveries(ledger, job)
    assert (counts.delivered, counts.cancelled, counts.pending) == (came, 80 - came, 0)
    assert _jobs(house, "retry", job)["results"][0]["transfers"] == 0
    one.pause_s = 0.0
    replayed = _jobs(house, "replay", job)
    assert (replayed["queued"], replayed["delivered_before"]) == (80 - came, came)
    wait_for(lambda: len(one.came) >= 80, timeout_s=60, what="all have come")
    assert sorted(one.came) == sorted(uids)


def test_what_was_refused_is_sent_when_it_is_retried(
    house: House, ledger: Ledger, one: Destination, tmp_path: Path
) -> None:
    """Somebody mended the destination."""
    one.status = 0xC000
    study, uids = _study(tmp_path / "study", 5)
    job = _submit(house, tmp_path / "study")

    def attention() -> list[str]:
        rows = ledger.operations.jobs(limit=10, state=TransferState.NEEDS_ATTENTION)
        return [row.id for row in rows]

    wait_for(lambda: attention() == [job], timeout_s=60, what="it needs attention")
    assert _jobs(house, "show", study, code=1)["deliveries"][0]["refused"] == 5
    one.status = 0x0000
    one.came.clear()
    said = house.run("jobs", "retry", "--all", "--destination", "one")

    assert said.returncode == 0, said.stderr
    assert "1 transfer with 5 instances to one tried again now" in said.stdout
    assert "next: it is sent within seconds" in said.stdout
    wait_for(lambda: sorted(one.came) == sorted(uids), timeout_s=60, what="all have come")
    wait_for(lambda: attention() == [], timeout_s=30, what="nothing needs attention")
    assert house.run("jobs", "show", study).returncode == 0


def test_a_study_goes_to_another_destination_after_its_spool_items_were_released(
    house: House, ledger: Ledger, one: Destination, two: Destination, tmp_path: Path
) -> None:
    """From the archive, byte for byte as it was received; and not again to whom has it."""
    study, uids = _study(tmp_path / "study", 12)
    _submit(house, tmp_path / "study")
    wait_for(lambda: len(one.came) == 12, timeout_s=60, what="all have come")
    spool = house.home / "spool"
    wait_for(lambda: not list(spool.rglob("*.dcm")), timeout_s=60, what="the spool is empty")

    same = _jobs(house, "replay", study)
    other = _jobs(house, "replay", study, "--to", f"TWO@127.0.0.1:{two.port}", "--priority", "urgent")

    assert (same["queued"], same["delivered_before"], same["job_id"]) == (0, 12, "")
    assert (other["queued"], other["gone"], other["unknown"]) == (12, [], [])
    wait_for(lambda: sorted(two.came) == sorted(uids), timeout_s=60, what="all are at the second")
    assert {uid: two.digests[uid] for uid in uids} == {uid: one.digests[uid] for uid in uids}
    wait_for(lambda: ledger.job_progress(other["job_id"]).finished, timeout_s=30, what="it is done")
    assert _jobs(house, "show", other["job_id"])["state"] == "done"
    some = _jobs(house, "replay", study, "--to", "one", "--instances", uids[3], "--again")
    assert some["queued"] == 1
    wait_for(lambda: one.came.count(uids[3]) == 2, timeout_s=60, what="one has come again")
    assert _jobs(house, "replay", study, "--instances", "9.9.9", "--again", code=1)["unknown"] == ["9.9.9"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hold", "1.2.3.4.5"), "no job, transfer or study"),
        (("retry",), "say which"),
        (("retry", "1.2.3", "--all"), "say which"),
        (("release", "--all", "--destination", "nobody"), "there is no such destination"),
        (("replay", "1.2.3.4.5", "--to", "one"), "no job, transfer or study"),
    ],
)
def test_what_is_not_here_is_told_and_nothing_is_done(
    house: House, arguments: Sequence[str], words: str
) -> None:
    done = house.run("jobs", *arguments)

    assert done.returncode == 2
    assert words in done.stderr
