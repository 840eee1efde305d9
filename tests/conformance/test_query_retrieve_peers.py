"""echo, find, move and get as commands, against archives that are not ours: DCMTK's dcmqrscp and wlmscpfs, and Orthanc."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import pytest
from click.testing import CliRunner
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt

from dicomrelay.cli.find import command
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from tests.support.archives import (
    OTHER_STUDY,
    STUDY,
    Archive,
    dcmqrscp,
    orthanc,
    store,
    wlmscpfs,
    write_study,
)
from tests.support.house import Storescp, storescp, wait_for

FIND = "1.2.840.10008.5.1.4.1.2.2.1"


@dataclass
class Scene:
    """An archive with two studies, and the AE that it may move to."""

    archive: Archive
    files: frozenset[str]  # SOP Instance UIDs
    sink: Storescp

    @property
    def address(self) -> str:
        return self.archive.address


def _relay(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    where = ["--home", str(home)] if home else []
    return subprocess.run(
        [sys.executable, "-m", "dicomrelay", *arguments, *where],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


@pytest.fixture(scope="module", params=["dcmqrscp", "orthanc"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    with ExitStack() as stack:
        sink = stack.enter_context(storescp("SINK", folder / "sink"))
        target = RemoteAe("SINK", "127.0.0.1", sink.port)
        start = {"dcmqrscp": dcmqrscp, "orthanc": orthanc}[request.param]
        archive = stack.enter_context(start(folder / "archive", destination=target))
        paths = write_study(folder / "in")
        others = write_study(folder / "other", study=OTHER_STUDY, name="SMITH^ANN", instances=2)
        store(archive, [*paths, *others])
        files = frozenset(str(dcmread(path).SOPInstanceUID) for path in (*paths, *others))
        yield Scene(archive, files, sink)


@pytest.mark.dcmtk
def test_echo_measures_and_asks_all(scene: Scene, tmp_path: Path) -> None:
    """One that answers and one that is not there: each is told, and the exit code says that not all is well."""
    done = _relay("echo", scene.address, "--repeat", "3", "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert (answer["status"], len(answer["echo_ms"])) == (0, 3)
    (nobody,) = free_ports(1)
    (tmp_path / "relay.toml").write_text(
        f'[[destinations]]\nname = "there"\nae_title = "{scene.archive.remote.ae_title}"\nhost = "127.0.0.1"\n'
        f'port = {scene.archive.remote.port}\n[[destinations]]\nname = "gone"\nae_title = "GONE"\nhost = "127.0.0.1"\n'
        f"port = {nobody}\n",
        "utf-8",
    )
    both = _relay("echo", "--all", "--json", home=tmp_path)
    assert both.returncode == 1
    there, gone = json.loads(both.stdout)
    assert (there["status"], gone["status"], gone["exit_code"]) == (0, None, 3)
    assert _relay("echo", "gone", home=tmp_path).returncode == 3


@pytest.mark.dcmtk
def test_find_shows_studies(scene: Scene) -> None:
    """A table for people, with characters beyond ASCII, both ways."""
    done = _relay("find", scene.address)
    assert done.returncode == 0
    assert "MÜLLER^JÖRG" in done.stdout
    assert STUDY in done.stdout
    assert "2 answers" in done.stderr
    found = json.loads(_relay("find", scene.address, "--patient-name", "MÜLLER*", "--json").stdout)
    assert [answer["0020000D"]["Value"] for answer in found] == [[STUDY]]
    assert found[0]["00100010"]["Value"] == [{"Alphabetic": "MÜLLER^JÖRG"}]
    nothing = _relay("find", scene.address, "--patient-name", "NOBODY", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (0, [])


@pytest.mark.dcmtk
def test_find_goes_down_the_hierarchy(scene: Scene) -> None:
    """Patient, series and instances, each with its own keys."""
    patients = _relay("find", scene.address, "--level", "PATIENT", "--csv")
    assert "P1" in patients.stdout
    series = _relay("find", scene.address, "--level", "SERIES", "--study", STUDY, "--csv")
    (row,) = csv.DictReader(io.StringIO(series.stdout))
    assert (row["SeriesInstanceUID"], row["Modality"]) == (f"{STUDY}.1", "CT")
    images = _relay(
        "find",
        scene.address,
        "--level",
        "IMAGE",
        "--study",
        STUDY,
        "--series",
        f"{STUDY}.1",
        "--csv",
        "-k",
        "Rows",
    )
    assert {row["SOPInstanceUID"] for row in csv.DictReader(io.StringIO(images.stdout))} == {
        uid for uid in scene.files if uid.startswith(f"{STUDY}.")
    }


@pytest.mark.dcmtk
def test_get_brings_what_was_stored(scene: Scene, tmp_path: Path) -> None:
    """Into one file each; a second time they are there already."""
    out = tmp_path / "out"
    done = _relay("get", scene.address, "--study", STUDY, "-o", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fetched"] == 3
    fetched = {path.name.removesuffix(".dcm") for path in out.iterdir()}
    assert fetched == {uid for uid in scene.files if uid.startswith(f"{STUDY}.")}
    for path in out.iterdir():  # the archive may have added attributes of its own
        number = int(path.stem.rpartition(".")[2])
        assert dcmread(path).PixelData == bytes([number]) * 512
    again = json.loads(_relay("get", scene.address, "--study", STUDY, "-o", str(out), "--json").stdout)
    assert (again["fetched"], again["already_there"], again["bytes"]) == (3, 3, 0)
    narrow = _relay(
        "get",
        scene.address,
        "--study",
        OTHER_STUDY,
        "--sop-class",
        "CTImageStorage",
        "-o",
        str(tmp_path / "narrow"),
    )
    assert narrow.returncode == 0, narrow.stderr
    assert len(list((tmp_path / "narrow").iterdir())) == 2


@pytest.mark.dcmtk
def test_get_of_nothing_is_not_success(scene: Scene, tmp_path: Path) -> None:
    """A script that fetches a study that is not there must notice."""
    done = _relay("get", scene.address, "--study", "1.2.3", "-o", str(tmp_path / "out"))
    assert done.returncode == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.dcmtk
def test_move_sends_to_a_third(scene: Scene) -> None:
    """With counts; an AE title that the peer does not know is a failure in words."""
    before = len(scene.sink.files())
    done = _relay("move", scene.address, "--study", STUDY, "--to", "SINK", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["moved"] == 3
    wait_for(lambda: len(scene.sink.files()) >= before + 3, timeout_s=5, what="three files at the sink")
    nobody = _relay("move", scene.address, "--study", STUDY, "--to", "NOBODY", "--json")
    assert nobody.returncode == 1
    assert "the peer ended with" in nobody.stderr
    assert json.loads(nobody.stdout)["status"] in (0xA801, 0xC000)


@pytest.mark.dcmtk
def test_usage_is_told_before_anybody_is_asked() -> None:
    """No connection is made to this port."""
    for arguments, words in (
        (("find", "X@127.0.0.1:1", "-k", "PatientNam=X"), "no keyword"),
        (("get", "X@127.0.0.1:1", "-o", "out"), "name what to retrieve"),
        (("move", "X@127.0.0.1:1", "--study", "1.2", "--to", "X" * 17), "--to"),
        (("find", "X@127.0.0.1:1", "--csv", "--json"), "choose one"),
        (("echo",), "name a destination"),
    ):
        done = _relay(*arguments)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
    unreachable = _relay("find", f"X@127.0.0.1:{free_ports(1)[0]}", "--json")
    assert unreachable.returncode == 3
    assert json.loads(unreachable.stdout)["exit_code"] == 3


@pytest.mark.dcmtk
def test_a_worklist_of_dcmtk(tmp_path: Path) -> None:
    """Matched by what stands in the scheduled procedure step."""
    steps = []
    for number, modality in enumerate(("CT", "MR"), 1):
        step, item = Dataset(), Dataset()
        item.Modality, item.ScheduledStationAETitle = modality, "STATION"
        item.ScheduledProcedureStepStartDate, item.ScheduledProcedureStepStartTime = "20261121", "081500"
        item.ScheduledProcedureStepID, item.ScheduledPerformingPhysicianName = f"S{number}", "DOC^TOR"
        item.ScheduledProcedureStepDescription = "HEAD"
        step.SpecificCharacterSet = "ISO_IR 100"
        step.AccessionNumber, step.PatientID, step.PatientName = f"A{number}", f"P{number}", "MÜLLER^JÖRG"
        step.PatientBirthDate, step.PatientSex, step.StudyInstanceUID = "19700101", "O", f"1.2.{number}"
        step.RequestedProcedureID, step.RequestedProcedureDescription = f"R{number}", "CT HEAD"
        step.ScheduledProcedureStepSequence = Sequence([item])
        steps.append(step)
    with wlmscpfs(tmp_path, steps) as ris:
        done = _relay(
            "find", ris.address, "--worklist", "--modality", "CT", "--study-date", "20261121", "--json"
        )
        assert done.returncode == 0, done.stderr
        (answer,) = json.loads(done.stdout)
        everything = _relay("find", ris.address, "--worklist")
    assert answer["00080050"]["Value"] == ["A1"]
    assert answer["00400100"]["Value"][0]["00080060"]["Value"] == ["CT"]
    assert "2 answers" in everything.stderr


# ---- pynetdicom, for what no archive does


def _until_cancelled(event: evt.Event, heard: list[bool]) -> Iterator[tuple[int, Dataset | None]]:
    number = 0
    while not event.is_cancelled:
        number += 1
        answer = Dataset()
        answer.QueryRetrieveLevel, answer.PatientID = "STUDY", str(number)
        yield 0xFF00, answer
        sleep(0.01)
    heard.append(True)
    yield 0xFE00, None


@contextmanager
def _endless(heard: list[bool]) -> Iterator[str]:
    """A peer that answers until C-CANCEL; its address."""
    ae = AE("ENDLESS")
    ae.add_supported_context(FIND)
    handlers = [(evt.EVT_C_FIND, _until_cancelled, [heard])]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield f"ENDLESS@127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        ae.shutdown()


def test_ctrl_c_cancels_and_keeps_what_came() -> None:
    """130, a whole JSON array, and the peer has heard C-CANCEL."""
    heard: list[bool] = []
    with _endless(heard) as address:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicomrelay", "find", address, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        came = [process.stdout.readline(), process.stdout.readline()]  # an answer: something to keep
        process.send_signal(signal.SIGINT)
        came.append(
            process.stdout.read()
        )  # not communicate(): it knows nothing of what lies in the buffer already
        words = process.stderr.read()
        process.wait(timeout=30)
    assert process.returncode == 130, words
    answers = json.loads("".join(came))
    assert answers
    assert f"{len(answers)} answer" in words
    assert "interrupted" in words
    assert heard == [True]


def test_a_limit_that_was_given_is_a_success() -> None:
    """Who asked for five has what was asked for, and hears that there is more."""
    heard: list[bool] = []
    with _endless(heard) as address:
        done = _relay("find", address, "--limit", "5", "--csv")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 6
    assert "there are more" in done.stderr
    assert heard == [True]


def test_the_default_limit_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who named none must know that this is not all."""
    monkeypatch.setattr("dicomrelay.cli.find._DEFAULT_LIMIT", 3)
    monkeypatch.setattr("dicomrelay.cli.find.cancel_on_signals", lambda: lambda: False)
    with _endless([]) as address:
        done = CliRunner().invoke(command, [address, "--csv"], standalone_mode=False)
    assert done.return_value == 1
    assert len(done.stdout.splitlines()) == 4
