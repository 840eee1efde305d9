"""`dicomrelay up`: what it says before it starts, what it survives, and what is left when it stops."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom.data
import pytest
from pydicom.uid import generate_uid

from dicomrelay.ledger import Ledger
from dicomrelay.runtime.home import ledger_url
from dicomrelay.runtime.ports import free_ports
from tests.support.house import House, Storescp, a_home, require, storescp, wait_for
from tests.support.processes import open_to_others

pytestmark = [pytest.mark.dcmtk, pytest.mark.timeout(300)]

_SAMPLES = Path(pydicom.data.__file__).parent / "test_files"
_CT = _SAMPLES / "CT_small.dcm"
_MR = _SAMPLES / "MR_small.dcm"
_TASKS = {"group", "forward", "archive", "frames"}


def _store(house: House, *paths: Path) -> None:
    gateway = house.settings.gateway
    argv = [require("storescu"), "-aec", gateway.ae_title, "127.0.0.1", str(gateway.port), *map(str, paths)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


def _processes(house: House) -> dict[str, int]:
    """Process ids of the services, by the word that follows `-m dicomrelay`, read from the kernel."""
    found: dict[str, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except (OSError, UnicodeDecodeError):
                continue
            if str(house.home) not in " ".join(words) or "up" in words:
                continue
            name = words[words.index("dicomrelay") + 1] if "dicomrelay" in words else "broker"
            if name == "worker":
                name = f"worker-{words[words.index('--name') + 1]}"
            found.setdefault(name, int(entry.name))
    return found


def _deliveries(house: House) -> int:
    ledger = Ledger.open(ledger_url(house.settings))
    studies = ledger.studies(limit=100)
    ledger.dispose()
    return sum(to.delivered for study in studies for to in study.destinations)


def _delivered(house: House, count: int) -> None:
    what = f"{count} deliveries; `up` said {house.output()}"
    wait_for(lambda: _deliveries(house) >= count, timeout_s=60, what=what)


@contextmanager
def _relay(tmp_path: Path) -> Iterator[tuple[House, Storescp]]:
    with (
        storescp("PACS", tmp_path / "pacs") as pacs,
        a_home(pacs.toml("pacs", "retry_initial_s = 0.5"), whole=True) as house,
    ):
        house.start()
        yield house, pacs


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For those that ask it something and leave it as it was."""
    with _relay(tmp_path_factory.mktemp("running")) as (house, _):
        yield house


def test_a_port_that_is_taken_is_named_with_its_setting_and_nothing_is_started() -> None:
    """Exit code 3."""
    with a_home() as house, socket.create_server(("127.0.0.1", house.settings.streamer.port)):
        ended = house.run("up")

    assert ended.returncode == 3
    assert str(house.settings.streamer.port) in ended.stderr
    assert "streamer.port" in ended.stderr
    assert "is ready" not in ended.stderr


def test_a_broken_relay_toml_is_told_with_file_and_key() -> None:
    """Exit code 2, for every command."""
    with a_home(
        '[[destinations]]\nname = "x"\nae_title = "X"\nhost = "h"\nprot = 104\n'.replace("prot", "port")
    ) as house:
        house.config.write_text("[gateway]\nprot = 1\n", "utf-8")
        for command in ("up", "status", "gateway"):
            ended = house.run(command, "--json") if command == "status" else house.run(command)

            assert ended.returncode == 2
            assert f"{house.config}: gateway.prot: there is no such setting" in ended.stderr


def test_a_second_up_on_the_same_home_is_refused(running: House) -> None:
    """Exit code 3, with the process that runs."""
    ended = running.run("up")

    assert ended.returncode == 3
    assert running.process is not None
    assert f"process {running.process.pid}" in ended.stderr


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and the kernel's death signal is Linux's")
def test_whatever_is_killed_comes_back_and_nothing_is_lost(tmp_path: Path) -> None:
    """Each service in turn by SIGKILL, with an instance sent after each; at last `up` itself, which takes all along."""
    files = [
        _CT,
        _MR,
        _SAMPLES / "ExplVR_BigEnd.dcm",
        _SAMPLES / "rtplan.dcm",
        _SAMPLES / "examples_overlay.dcm",
    ]
    with _relay(tmp_path) as (house, _):
        ready = house.home / "run" / "ready"
        victims = ("broker", "worker-intake", "worker-forward-1", "scheduler", "gateway")
        for count, (victim, path) in enumerate(zip(victims, files, strict=True), start=1):
            os.kill(_processes(house)[victim], signal.SIGKILL)
            wait_for(lambda: not ready.exists(), timeout_s=10, what=f"{victim} is missed")
            if victim == "gateway":
                wait_for(ready.exists, timeout_s=60, what="the gateway is back")
            _store(house, path)
            _delivered(house, count)
            wait_for(ready.exists, timeout_s=60, what=f"{victim} is back")
        assert house.output().count("died (signal 9)") == len(victims)

        assert house.process is not None
        house.process.kill()
        house.process.wait()
        wait_for(lambda: not _processes(house), timeout_s=60, what="no service outlives `up`")
        house.start()
        _store(house, _SAMPLES / "examples_palette.dcm")
        _delivered(house, len(files) + 1)


def test_with_broker_and_ledger_gone_the_gateway_accepts_and_the_spool_rebuilds_the_ledger(
    tmp_path: Path,
) -> None:
    """Invariant 2: the acknowledge path touches neither."""
    with _relay(tmp_path) as (house, pacs):
        pacs.stop()
        _store(house, _CT)
        ledger = Ledger.open(ledger_url(house.settings))
        wait_for(lambda: bool(ledger.studies()), timeout_s=30, what="the ledger knows the study")
        ledger.dispose()
        assert house.stop() == 0
        for name in ("db", "redis"):
            shutil.rmtree(house.home / name)
        gateway = subprocess.Popen([sys.executable, "-m", "dicomrelay", "gateway", "--home", str(house.home)])
        address = ("127.0.0.1", house.settings.gateway.port)
        wait_for(lambda: _answers(address), timeout_s=30, what="the gateway listens alone")
        _store(house, _MR)
        gateway.terminate()
        assert gateway.wait(30) == 0
        pacs.start()
        house.start()
        _delivered(house, 2)

        assert len(pacs.files()) == 2


@pytest.mark.long
def test_an_external_database_and_broker_that_are_away_do_not_keep_the_gateway_from_accepting() -> None:
    """Images are taken while the rest waits; `up` says so and goes on."""
    ports = free_ports(2)
    toml = f'[database]\nurl = "postgresql://u:s3cret@127.0.0.1:{ports[0]}/relay"\n[broker]\nurl = "redis://127.0.0.1:{ports[1]}/0"\n'
    with a_home(toml) as house:
        with (house.home / "up.log").open("ab") as log:
            argv = [sys.executable, "-m", "dicomrelay", "up", "--home", str(house.home)]
            house.process = subprocess.Popen(argv, stdout=log, stderr=log, text=True)
        address = ("127.0.0.1", house.settings.gateway.port)
        wait_for(lambda: _answers(address), timeout_s=60, what=f"the gateway listens; {house.output()}")
        _store(house, _CT, _MR)

        assert len(list((house.home / "spool" / "new").glob("*.dcm"))) == 2
        assert "the gateway takes instances meanwhile" in house.output()
        assert "s3cret" not in house.output() + (house.home / "logs" / "scheduler.log").read_text("utf-8")
        assert not (house.home / "run" / "ready").exists()
        assert house.stop() == 0


@pytest.mark.long
def test_a_destination_that_was_down_gets_what_it_missed(tmp_path: Path) -> None:
    """Without a hand, and the status says meanwhile what waits."""
    with storescp("UP", tmp_path / "up") as there:
        down = Storescp("DOWN", free_ports(1)[0], tmp_path / "down")
        with a_home(
            there.toml("there") + down.toml("down", "retry_initial_s = 0.5\nretry_max_s = 1")
        ) as house:
            house.start()
            _store(house, _CT)
            _delivered(house, 1)
            status = house.run("status")
            assert "there: 1 of 1 deliveries made" in status.stdout
            assert "down: 0 of 1 deliveries made" in status.stdout
            down.start()
            try:
                _delivered(house, 2)
            finally:
                down.stop()
            assert house.stop() == 0
            # A log that is left would keep a read-only mount of the archive from being opened.
            assert not [*house.home.rglob("*.sqlite-wal")]


def test_flower_shows_our_tasks_on_loopback_and_changes_nothing(running: House) -> None:
    """Read-only without a password."""
    _store(running, _CT)
    _delivered(running, 1)
    base = f"http://127.0.0.1:{running.settings.monitor.port}"
    # What is delivered already may wait for its frames.
    wait_for(lambda: _tasks_shown(base) >= _TASKS, timeout_s=60, what="a metric of every task")
    with urllib.request.urlopen(f"{base}/tasks", timeout=10) as answer:
        assert answer.status == 200
    shutdown = urllib.request.Request(f"{base}/api/worker/shutdown/intake", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(shutdown, timeout=10)
    with refused.value as answer:
        assert answer.code in {401, 403}


def test_every_process_counts_and_one_place_shows_them_all(running: House) -> None:
    """From the request of a modality to the answer of the destination, over processes that fork; and the relay is ready."""
    before = _deliveries(running)
    _store(running, _MR)
    _delivered(running, before + 1)
    base = f"http://127.0.0.1:{running.settings.monitor.port}"
    with urllib.request.urlopen(f"http://127.0.0.1:{running.settings.streamer.port}/studies", timeout=10):
        pass
    wanted = {
        "dicomrelay_received_instances_total",
        "dicomrelay_associations_total",
        "dicomrelay_grouped_instances_total",
        "dicomrelay_delivery_outcomes_total",
        "dicomrelay_delivery_journey_seconds_count",
        "dicomrelay_transfers_total",
        "dicomrelay_stage_instances_total",
        "dicomrelay_task_seconds_count",
        "dicomrelay_forward_places",
        "dicomrelay_http_requests_total",
        "dicomrelay_destination_breaker",
        "dicomrelay_broker_up",
        "dicomrelay_disk_free_bytes",
    }
    wait_for(lambda: wanted <= _shown(base), timeout_s=60, what=f"of {wanted} each; there are {_shown(base)}")
    with urllib.request.urlopen(f"{base}/readyz", timeout=10) as answer:
        assert answer.read() == b"services: ok\n"


def _shown(base: str) -> set[str]:
    """Families of ours that are not 0."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    services = {
        word
        for line in lines
        for word in re.findall(r'^dicomrelay_processes{service="([a-z-]+?)(?:-\d)?"}', line)
    }
    if not services >= {
        "gateway",
        "worker-intake",
        "worker-keep",
        "worker-forward",
        "scheduler",
        "streamer",
        "monitor",
    }:
        return set()
    return {
        re.split("[ {]", line)[0]
        for line in lines
        if line.startswith("dicomrelay_") and not line.endswith(" 0")
    }


def test_no_attribute_of_a_patient_is_in_logs_broker_or_metrics(running: House, tmp_path: Path) -> None:
    """Invariant 12: the name and the id of the sample are nowhere but in spool, archive and databases.

    And nothing that anything of ours wrote into the home may be read by another user.
    """
    ds = pydicom.dcmread(_CT)
    ds.PatientName, ds.PatientID = "CANARY^NAME", "CANARYID77"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = ds.StudyInstanceUID = generate_uid()
    ds.save_as(tmp_path / "canary.dcm")
    before = _deliveries(running)
    _store(running, tmp_path / "canary.dcm")
    _delivered(running, before + 1)
    running.run("send", str(tmp_path / "canary.dcm"), "--to", "pacs")
    found = (
        f"http://127.0.0.1:{running.settings.streamer.port}/studies?PatientName=CANARY*&PatientID=CANARYID77"
    )
    with urllib.request.urlopen(found, timeout=10) as answer:
        assert b"CANARYID77" in answer.read() or answer.status == 204
    with urllib.request.urlopen(
        f"http://127.0.0.1:{running.settings.monitor.port}/metrics", timeout=10
    ) as answer:
        assert b"CANARY" not in answer.read()
    assert (running.home / "redis" / "appendonlydir").is_dir()
    not_ours = ("/relay.toml: ", "/up.log: ")  # the test's
    assert [each for each in open_to_others(running.home) if not any(map(each.count, not_ours))] == []
    looked = 0
    for folder in ("logs", "redis", "run", "audit"):
        for path in (running.home / folder).rglob("*"):
            if path.is_file():
                looked += 1
                assert b"CANARY" not in path.read_bytes(), path
    assert looked > 6
    assert any((running.home / "audit").glob("*.jsonl"))


def _tasks_shown(base: str) -> set[str]:
    with urllib.request.urlopen(f"{base}/metrics", timeout=10) as answer:
        return set(re.findall(r'task="dicomrelay\.(\w+)"', answer.read().decode()))


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_the_demo_ends_well_and_says_so() -> None:
    """The README's first command."""
    argv = [sys.executable, "-m", "dicomrelay", "demo", "--json"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=200)

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["complete"] is True
    assert "every instance reached the destination, the archive and the streamer" in ended.stderr
