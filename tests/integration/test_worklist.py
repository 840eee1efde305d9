"""The worklist as a modality, a RIS and a person meet it: C-FIND at a real gateway, commands, HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from dicomrelay.cli.main import cli
from dicomrelay.dicom.query_models import MODALITY_WORKLIST
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import NoAcceptedContext, RelayError
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.scheduling.worklist_building import path_of
from dicomrelay.scheduling.worklist_status import StepStatus
from dicomrelay.settings import Settings
from tests.support import queries
from tests.support.gateway import running
from tests.support.stow import settings_of
from tests.support.streamer import serving
from tests.support.worklist import STEPS, item, step, worklist_of, write

PEERS = [
    {"ae_title": "CT_*", "rights": ["worklist"], "worklist_ae_titles": ["CT_*"]},
    {"ae_title": "RIS", "rights": ["worklist"]},
    {"ae_title": "STORE"},
]
SECRET = "SECRET^PATIENT"


@dataclass
class Scene:
    home: Path
    remote: RemoteAe


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("worklist")
    with (
        worklist_of(Settings(home=home), [item(1), item(2, step_ScheduledStationAETitle="MR_1"), item(3)]),
        running(home, peers=PEERS) as gateway,
    ):
        yield Scene(home, gateway.remote)


def find(remote: RemoteAe, *keys: str, calling: str = "RIS") -> tuple[list[str], int]:
    named = [each.partition("=") for each in ("PatientID", *keys)]
    identifier = build_identifier([parse_key(f"{path_of(name)}{dash}{value}") for name, dash, value in named])
    with queries.associate(remote, MODALITY_WORKLIST, calling_ae_title=calling) as association:
        found = queries.ask(association, identifier, model=MODALITY_WORKLIST)
    return [str(each.PatientID) for each in found.answers], found.status


def test_a_modality_asks(scene: Scene) -> None:
    """And sees the stations that its entry names."""
    assert find(scene.remote) == (["P1", "P2", "P3"], 0)
    assert find(scene.remote, "ScheduledStationAETitle=MR_1") == (["P2"], 0)
    assert find(scene.remote, calling="CT_1") == (["P1", "P3"], 0)
    assert find(scene.remote, "PatientID=P2", calling="CT_1") == ([], 0)


def test_without_the_right_there_is_no_context(scene: Scene) -> None:
    """A modality that stores sees no names because we were updated."""
    with pytest.raises(NoAcceptedContext):
        find(scene.remote, calling="STORE")


def test_without_a_ledger_the_gateway_says_so_and_makes_none(tmp_path: Path) -> None:
    """A700, ask again later."""
    with running(tmp_path) as gateway:
        assert find(gateway.remote)[1] == 0xA700
    assert not (tmp_path / "db" / "ledger.sqlite").exists()


def test_where_it_is_switched_off_there_is_none(tmp_path: Path) -> None:
    """worklist.enabled."""
    with (
        running(tmp_path, sections={"worklist": {"enabled": False}}) as gateway,
        pytest.raises(NoAcceptedContext),
    ):
        find(gateway.remote)


# ---- commands


@dataclass
class Said:
    returncode: int
    stdout: str
    stderr: str


def relay(home: Path, *arguments: str) -> Said:
    """A command, in this process."""
    argv = ["worklist", *arguments, "--home", str(home)]
    result = CliRunner().invoke(cli, argv, standalone_mode=False)
    if isinstance(result.exception, RelayError):
        return Said(result.exception.exit_code, result.stdout, f"{result.stderr}{result.exception}")
    assert result.exception is None, result.exception
    return Said(result.return_value or 0, result.stdout, result.stderr)


def test_the_way_of_an_item(tmp_path: Path) -> None:
    """Added, listed, shown, given a status, removed."""
    with worklist_of(Settings(home=tmp_path)):
        pass
    added = relay(
        tmp_path, "add", "--patient-id", "4711", "--patient-name", "MÜLLER^HANS", "--accession", "A1", "--procedure",
        "CT HEAD", "--modality", "CT", "--station", "CT_1", "--date", "20261123", "--time", "0830", "-k", "PatientWeight=82",
    )  # fmt: skip
    assert (added.returncode, added.stderr) == (0, "1 item: 1 added\n")
    listed = relay(tmp_path, "list", "--date", "20261123", "--patient-name", "müller*")
    assert "2026-11-23 08:30" in listed.stdout
    assert "MÜLLER^HANS" in listed.stdout
    assert relay(tmp_path, "list", "--modality", "MR").stderr == "0 items\n"
    assert "PatientWeight: 82" in relay(tmp_path, "show", "A1").stdout
    assert relay(tmp_path, "set", "A1", "--status", "completed").stderr == "1 item: COMPLETED\n"
    assert relay(tmp_path, "list").stderr == "0 items\n"
    (found,) = json.loads(relay(tmp_path, "list", "--all", "--json").stdout)
    assert (found["status"], found["item"]["00100020"]["Value"]) == ("COMPLETED", ["4711"])
    assert relay(tmp_path, "remove", found["id"], "A1").returncode == 1
    assert relay(tmp_path, "show", "A1").returncode == 2


def test_files_are_imported_and_faults_told(tmp_path: Path) -> None:
    """With file, item and attribute, and no value; a second time changes nothing."""
    settings, folder = Settings(home=tmp_path / "home"), tmp_path / "in"
    for number, each in enumerate(STEPS, 1):
        write(folder / "CT_1" / f"{number}.wl", each, number)
    (folder / "CT_1" / "lockfile").touch()
    write(folder / "bad.wl", step(9, PatientName=SECRET, PatientID=None))
    (folder / "bad.json").write_text("[{}, 3", "utf-8")
    with worklist_of(settings):
        checked = relay(settings.home, "import", "--check", str(folder))
        done = relay(settings.home, "import", str(folder))
        again = relay(settings.home, "import", str(folder / "CT_1"), "--json")
    assert (checked.returncode, done.returncode, again.returncode) == (1, 1, 0)
    assert "6 sound, 2 at fault; nothing was changed" in checked.stderr
    assert f"{folder}/bad.wl: PatientID: missing\n" in done.stderr
    assert f"{folder}/bad.json: no JSON: " in done.stderr
    assert "6 items: 6 added, 2 not taken" in done.stderr
    assert json.loads(again.stdout) == {"files": 6, "unchanged": 6, "status_set": 0, "refused": []}
    assert SECRET not in checked.stderr + done.stderr


def test_a_home_without_a_ledger_says_what_to_do(tmp_path: Path) -> None:
    """And none is made."""
    done = relay(tmp_path, "list")
    assert (done.returncode, "nothing has run here yet" in done.stderr) == (2, True)


# ---- HTTP


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = settings_of(tmp_path_factory.mktemp("streamer"))
    with worklist_of(settings, [item(1), item(2, step_Modality="MR")]), serving(settings) as client:
        yield client


def test_items_over_http(client: httpx.Client) -> None:
    """Listed, searched, one by one, removed."""
    rows = client.get("/worklist").json()
    assert [row["item"]["00100020"]["Value"] for row in rows] == [["P1"], ["P2"]]
    (found,) = client.get("/worklist", params={"Modality": "MR", "PatientName": "doe*"}).json()
    assert found == rows[1]
    assert client.get(f"/worklist/{found['id']}").json() == found
    assert client.get("/worklist", params={"limit": 1}).headers["Warning"].startswith("299 ")
    assert client.get("/worklist", params={"offset": 1}).json() == [rows[1]]
    assert client.delete(f"/worklist/{found['id']}").status_code == 204
    assert client.delete(f"/worklist/{found['id']}").status_code == 404
    assert client.get(f"/worklist/{found['id']}").status_code == 404


def test_orders_over_http(client: httpx.Client) -> None:
    """In every form that files have; what is at fault is told, and the rest is taken."""
    row = {
        "PatientID": "P7", "PatientName": "DOE^JIM", "AccessionNumber": "A7", "Modality": "CT",
        "ScheduledStationAETitle": "CT_1", "ScheduledProcedureStepStartDate": "20261123",
        "ScheduledProcedureStepStartTime": "0830", "RequestedProcedureDescription": "CT HEAD",
    }  # fmt: skip
    taken = client.post("/worklist", json=[row, {**row, "PatientID": ""}])
    assert (taken.status_code, taken.json()["added"]) == (202, 1)
    (refused,) = taken.json()["refused"]
    assert refused["where"] == "item 2"
    assert "PatientID: missing" in refused["faults"]
    csv = ",".join(row) + "\n" + ",".join(row.values())
    again = client.post("/worklist", content=csv, headers={"Content-Type": "text/csv; charset=utf-8"})
    assert (again.status_code, again.json()) == (200, {"unchanged": 1, "status_set": 0, "refused": []})
    order = "MSH|^~\\&|R|C|R|C|2026||ORM^O01|1|P|2.3\rPID|1||P7\rORC|CA|1\rOBR|1|||||||||||||||||A7\r"
    hl7 = client.post("/worklist", content=order, headers={"Content-Type": "x-application/hl7-v2+er7"})
    assert hl7.json()["status_set"] == 1
    rows = client.get("/worklist", params={"AccessionNumber": "A7"}).json()
    assert [each["status"] for each in rows] == [StepStatus.DISCONTINUED]


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status"),
    [
        ("POST", "/worklist", b"{", "application/json", 400),
        ("POST", "/worklist", b"[{}]", "application/json", 400),
        ("POST", "/worklist", b"x", "text/html", 415),
        ("POST", "/worklist", b"x" * 5_000_000, "text/csv", 413),
        ("PUT", "/worklist", b"", "text/csv", 405),
        ("DELETE", "/worklist", b"", "text/csv", 405),
        ("GET", "/worklist?Foo=1", b"", "text/csv", 400),
        ("GET", "/worklist?ScheduledProcedureStepStartDate=soon", b"", "text/csv", 400),
        ("GET", "/worklist?limit=many", b"", "text/csv", 400),
        ("GET", "/worklist?PatientID=P1&PatientID=P4", b"", "text/csv", 400),
        ("GET", "/worklist?limit=1&limit=2", b"", "text/csv", 400),
        ("GET", "/worklist?PatientName=%00", b"", "text/csv", 400),
        ("POST", "/worklist", b'{"PatientID": ' + b"1" * 5000 + b"}", "application/json", 400),
        ("POST", "/worklist", b'{"00400100": {"vr": "US", "Value": [1]}}', "application/dicom+json", 400),
        ("POST", "/worklist", b"[" + b"{}," * 5000 + b"{}]", "application/json", 400),
        ("GET", "/worklist/1.2.3", b"", "text/csv", 404),
    ],
)
def test_wrong_requests_say_why(
    client: httpx.Client, method: str, path: str, content: bytes, kind: str, status: int
) -> None:
    """A status, and words."""
    answer = client.request(method, path, content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.json()


def test_what_is_refused_is_told_of_a_hundred(client: httpx.Client) -> None:
    """The answer stays in proportion, and nobody keeps the database with what is at fault."""
    answer = client.post("/worklist", json=[{}] * 150)
    assert answer.status_code == 400
    refused = answer.json()["refused"]
    assert len(refused) == 101
    assert refused[-1]["faults"] == ["100 are at fault: what comes after them was not looked at"]


def test_under_the_low_water_mark_nothing_is_put(tmp_path: Path) -> None:
    """507; what is there can be looked at, and removed."""
    settings = settings_of(tmp_path, gateway={"min_free_bytes": 1 << 60})
    with worklist_of(settings, [item(1)]), serving(settings) as full:
        assert full.post("/worklist", json=[{}]).status_code == 507
        (found,) = full.get("/worklist").json()
        assert full.delete(f"/worklist/{found['id']}").status_code == 204


def test_who_may(tmp_path: Path, client: httpx.Client) -> None:
    """As for what stores: a proxy must say who is behind it, and no page of another site may read or change."""
    assert client.get("/worklist", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    assert client.delete("/worklist/0", headers={"Origin": "https://evil.example"}).status_code == 403
    settings = settings_of(
        tmp_path / "closed",
        streamer={"access": {"token": "t" * 32}, "cors_origins": ["https://page.example"]},
    )
    with worklist_of(settings, [item(1)]), serving(settings) as guarded:
        assert guarded.get("/worklist").status_code == 401
        assert len(guarded.get("/worklist", headers={"Authorization": f"Bearer {'t' * 32}"}).json()) == 1
    open_to_pages = settings_of(tmp_path / "pages", streamer={"cors_origins": ["https://page.example"]})
    with worklist_of(open_to_pages, [item(1)]), serving(open_to_pages) as shared:
        assert shared.get("/worklist", headers={"Origin": "https://page.example"}).status_code == 403
