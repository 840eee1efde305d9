"""`dicomrelay send` on a running house: what it takes, what it says, and how it ends."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest

from dicomrelay.dicom.part10 import MEDIA_STORAGE_DIRECTORY, FileMeta, encode_file_meta
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.runtime.ports import free_ports
from tests.support.house import House, Storescp, a_home, storescp, wait_for

pytestmark = [pytest.mark.dcmtk, pytest.mark.timeout(300)]

_SAMPLES = Path(pydicom.data.__file__).parent / "test_files"


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> Storescp:
    """A destination that is not there."""
    return Storescp("GONE", free_ports(1)[0], tmp_path_factory.mktemp("gone") / "received")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, gone: Storescp) -> Iterator[House]:
    """A house with a destination that takes all, one that takes uncompressed only, and one that is not there."""
    folder = tmp_path_factory.mktemp("destinations")
    with (
        storescp("ALL", folder / "all") as takes_all,
        storescp("REFUSER", folder / "refuser", "--refuse") as refuser,
        a_home(
            takes_all.toml("all")
            + refuser.toml("refuser")
            + gone.toml("gone", "retry_initial_s = 0.2\nretry_max_s = 1")
        ) as running,
    ):
        running.start()
        yield running


def _summary(stdout: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(stdout)
    return data


def test_files_of_any_name_are_found_by_content_and_the_rest_is_counted(house: House, tmp_path: Path) -> None:
    """DICOMDIR and others are skipped; nested folders want --recursive."""
    nested = tmp_path / "nested"
    nested.mkdir()
    shutil.copy(_SAMPLES / "CT_small.dcm", tmp_path / "holiday.jpg")
    shutil.copy(_SAMPLES / "MR_small_RLE.dcm", nested / "IM1")
    directory = FileMeta(
        MEDIA_STORAGE_DIRECTORY, sop_instance_uid="1.2.3", transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN
    )
    (tmp_path / "DICOMDIR").write_bytes(encode_file_meta(directory) + b"\x04\x00\x30\x11CS\x00\x00")
    (tmp_path / "notes.txt").write_text("not DICOM", "utf-8")
    (tmp_path / "nothing").touch()

    flat = house.run("send", str(tmp_path), "--to", "all", "--json")
    deep = house.run("send", str(tmp_path), "-r", "--to", "all", "--json")

    assert (flat.returncode, deep.returncode) == (0, 0), flat.stderr + deep.stderr
    assert _summary(flat.stdout)["files"] == {"dicom": 1, "skipped": 3, "unusable": []}
    assert _summary(deep.stdout)["instances"]["delivered"] == 2
    assert "deliveries made: 2 of 2" in deep.stderr


def test_the_files_may_go_once_they_are_submitted(house: House, tmp_path: Path) -> None:
    """The spool has them."""
    path = tmp_path / "a.dcm"
    shutil.copy(_SAMPLES / "rtstruct.dcm", path)

    submitted = house.run("send", str(path), "--to", "all", "--no-wait")
    path.unlink()

    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    assert f"as job {job}" in submitted.stderr

    def arrived() -> bool:
        status = json.loads(house.run("status", "--json", "--studies", "100").stdout)
        studies = {s["study_instance_uid"]: s for s in status["studies"]}
        mine = studies.get("1.2.826.0.1.3680043.8.498.2010020400001.1")
        return bool(
            mine and any(to["destination"] == "all" and to["delivered"] for to in mine["destinations"])
        )

    wait_for(arrived, timeout_s=30, what="the job's instance is delivered")


def test_one_bad_file_does_not_keep_the_others(house: House, tmp_path: Path) -> None:
    """Truncated, unreadable and unknown files are named with what is wrong; exit code 1."""
    good, truncated = tmp_path / "good.dcm", tmp_path / "truncated.dcm"
    shutil.copy(_SAMPLES / "CT_small.dcm", good)
    truncated.write_bytes((_SAMPLES / "MR_small.dcm").read_bytes()[:-500])

    ended = house.run(
        "send",
        str(good),
        str(truncated),
        str(tmp_path / "missing"),
        str(_SAMPLES / "README.txt"),
        "--to",
        "all",
        "--json",
    )

    summary = _summary(ended.stdout)
    reasons = {Path(row["path"]).name: row["reason"] for row in summary["files"]["unusable"]}
    assert ended.returncode == 1
    assert summary["instances"]["delivered"] == 1
    assert "truncated at byte" in reasons["truncated.dcm"], reasons
    assert "No such file" in reasons["missing"]
    assert set(reasons) == {"truncated.dcm", "missing", "README.txt"}


def test_nothing_to_send_is_a_mistake_in_words(house: House, tmp_path: Path) -> None:
    """Exit code 2."""
    ended = house.run("send", str(tmp_path), "--to", "all")

    assert ended.returncode == 2
    assert "nothing to send" in ended.stderr
    assert "--recursive" in ended.stderr


def test_a_destination_that_refuses_is_named_with_its_reason(house: House) -> None:
    """Nobody waits for a permanent rejection; the relay tries again later, an administrator may have mended it."""
    ended = house.run("send", str(_SAMPLES / "CT_small.dcm"), "--to", "refuser", "--json")

    summary = _summary(ended.stdout)
    assert ended.returncode == 3
    assert summary["instances"] | {"waiting": 1, "delivered": 0} == summary["instances"]
    assert "reject" in summary["results"][0]["reason"], summary["results"]


def test_a_destination_that_is_not_there_is_told_after_three_attempts_and_gets_it_when_it_is_back(
    house: House, gone: Storescp
) -> None:
    """The command does not wait for days; the relay does."""
    ended = house.run("send", str(_SAMPLES / "rtplan.dcm"), "--to", "gone", "--json")

    assert ended.returncode == 3
    assert "cannot connect" in _summary(ended.stdout)["results"][0]["reason"]
    assert "goes on trying" in ended.stderr
    status = house.run("status")
    # Once its breaker is open that it does not answer is said in the place of what waits.
    assert "1 instance for gone" in status.stdout or "gone does not answer" in status.stdout
    assert "cannot connect" in status.stdout
    gone.start()
    try:
        wait_for(lambda: len(gone.files()) == 1, timeout_s=60, what="the instance arrives late")
    finally:
        gone.stop()


def test_what_was_set_aside_is_never_called_delivered(house: House, tmp_path: Path) -> None:
    """Neither the first time nor when it is sent again."""
    ds = pydicom.dcmread(_SAMPLES / "CT_small.dcm")
    ds.PatientComments = "other bytes"
    ds.save_as(tmp_path / "other.dcm")
    house.run("send", str(_SAMPLES / "CT_small.dcm"), "--to", "all")

    for _ in range(2):
        ended = house.run("send", str(tmp_path / "other.dcm"), "--to", "all", "--json")

        assert ended.returncode == 1
        assert _summary(ended.stdout)["results"][0]["state"] == "set aside"


def test_a_truncated_file_alone_is_a_failed_instance(house: House, tmp_path: Path) -> None:
    """It was DICOM, and it did not arrive."""
    path = tmp_path / "truncated.dcm"
    path.write_bytes((_SAMPLES / "MR_small.dcm").read_bytes()[:-500])
    ended = house.run("send", str(path), "--to", "all")

    assert ended.returncode == 1
    assert "truncated at byte" in ended.stderr


def test_a_summary_file_holds_what_the_seeds_ask_for(house: House) -> None:
    """Session, configuration, timing, counts, bytes, rate, average time, studies and instances."""
    ended = house.run("send", str(_SAMPLES / "CT_small.dcm"), "--to", "all", "-c", "WORKSTATION", "-t", "2")
    path = Path(ended.stderr.strip().splitlines()[-1].removeprefix("summary "))
    summary = json.loads(path.read_text("utf-8"))

    assert ended.returncode == 0, ended.stderr
    assert path == house.home / "logs" / f"send_summary_{summary['session_id']}.json"
    assert (house.home / "logs" / f"send_{summary['session_id']}.log").exists()
    assert summary["configuration"]["calling_ae_title"] == "WORKSTATION"
    assert summary["timing"]["seconds"] > 0
    assert summary["instances"]["bytes"] == summary["results"][0]["bytes"] > 38_000
    assert summary["instances"]["bytes_per_second"] > 0
    assert summary["results"][0]["status"] == "0x0000"
    assert summary["studies"][0]["delivered"] == 1
    assert "CompressedSamples^CT1" not in path.read_text("utf-8")


def test_directly_needs_no_house(tmp_path: Path) -> None:
    """No broker, no spool; addresses in three ways."""
    with storescp("DIRECT", tmp_path / "direct") as server, a_home() as home:
        address = f"DIRECT@127.0.0.1:{server.port}"
        options = ["-a", "DIRECT", "-H", "127.0.0.1", "-p", str(server.port)]
        one = home.run("send", str(_SAMPLES / "CT_small.dcm"), address, "--direct")
        two = home.run("send", "-i", str(_SAMPLES / "MR_small_RLE.dcm"), *options, "--direct")

        assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
        assert len(server.files()) == 2


def test_directly_to_nobody_is_exit_code_3() -> None:
    """A peer that cannot be reached."""
    with a_home() as home:
        port = free_ports(1)[0]
        ended = home.run("send", str(_SAMPLES / "CT_small.dcm"), f"X@127.0.0.1:{port}", "--direct")

    assert ended.returncode == 3
    assert f"cannot connect to X@127.0.0.1:{port}" in ended.stderr
    assert "sent: 0 of 1" in ended.stderr
    assert "summary " in ended.stderr


@pytest.mark.long
def test_a_relay_that_stops_ends_the_wait(tmp_path: Path) -> None:
    """A destination that says nothing keeps the delivery under way; then `up` goes: exit code 3, and what is true."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        toml = f'[[destinations]]\nname = "silent"\nae_title = "SILENT"\nhost = "127.0.0.1"\nport = {port}\n'
        with a_home(toml) as house:
            house.start()
            command = [
                sys.executable,
                "-m",
                "dicomrelay",
                "send",
                "--home",
                str(house.home),
                "--to",
                "silent",
            ]
            process = subprocess.Popen(
                [*command, str(_SAMPLES / "CT_small.dcm")], stderr=subprocess.PIPE, text=True
            )
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                house.stop()
                _, said = process.communicate(timeout=30)
            status = house.run("status")

    assert process.returncode == 3, said
    assert "does not run" in said
    assert "goes on when it is started again" in said
    assert "the relay goes on trying" not in said
    assert "1 waiting" in said
    assert "not all services run" in status.stdout


def test_a_home_where_only_a_send_was_tried_has_no_status_and_no_database() -> None:
    """Nothing has run there."""
    with a_home() as home:
        home.run("send", str(_SAMPLES / "CT_small.dcm"), "X@127.0.0.1:104")
        ended = home.run("status")
        database = home.home / "db" / "ledger.sqlite"
        assert not database.exists()

    assert ended.returncode == 2
    assert "nothing has run here yet" in ended.stderr


def test_without_a_broker_it_says_what_to_start() -> None:
    """Exit code 3."""
    with a_home() as home:
        ended = home.run("send", str(_SAMPLES / "CT_small.dcm"), "X@127.0.0.1:104")

    assert ended.returncode == 3
    assert "dicomrelay up" in ended.stderr
    assert "--direct" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the files"),
        (("x.dcm", "--to", "nowhere"), "nowhere"),
        (("x.dcm", "-a", "PACS"), "--host"),
        (("x.dcm", "A@h:1", "--to", "b"), "one destination at a time"),
        (("x.dcm", "A@h:0"), "port"),
        (("x.dcm", "A@h:1", "--direct", "--no-wait"), "--no-wait goes with the queue"),
        (("x.dcm", "--direct"), "--direct needs a destination"),
        (("x.dcm", "--threads", "0"), "threads"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    """And says which option."""
    with a_home() as home:
        ended = home.run("send", *arguments)

    assert ended.returncode == 2
    assert words in ended.stderr
