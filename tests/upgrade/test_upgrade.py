"""From the last release to this version and back, with work in flight: nothing is lost (R35)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.house import House, a_home, require, storescp, wait_for
from tests.support.rooms import CT, EXPLICIT, data_set
from tests.upgrade.last_release import built

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta  # isort: skip

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.dcmtk, pytest.mark.timeout(1800)]

A_CALL = 40
# Two versions are started five times, and whoever runs the long tests runs others beside them.
START_S = 240


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("release"))


@contextmanager
def version(folder: Path) -> Iterator[None]:
    """Commands in this block are of the version whose packages are in a folder."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(folder)
    here = Path.cwd()
    os.chdir("/")  # `python -m` looks in the current folder first
    try:
        yield
    finally:
        os.chdir(here)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def sent(house: House, folder: Path, first: int) -> set[str]:
    """UIDs of instances that were acknowledged: of two studies, by one call of storescu."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for number in range(first, first + A_CALL):
        uid = f"1.2.9.{number}"
        meta = encode_file_meta(
            FileMeta(sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax_uid=EXPLICIT)
        )
        paths[uid] = folder / f"{uid}.dcm"
        paths[uid].write_bytes(meta + data_set(uid, study=f"1.2.9.{number // 20}.1"))
    done = subprocess.run(
        [require("storescu"), "127.0.0.1", str(house.settings.gateway.port), *map(str, paths.values())],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(paths)


def stop_hard(house: House) -> None:
    """As a power cut does it: nothing is handed back."""
    assert house.process is not None
    house.process.send_signal(signal.SIGKILL)
    house.process.wait(60)
    wait_for(lambda: not _answers(house), timeout_s=60, what="the gateway is gone with its supervisor")


def _answers(house: House) -> bool:
    done = subprocess.run(
        [require("echoscu"), "-to", "2", "127.0.0.1", str(house.settings.gateway.port)],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def received(folder: Path) -> set[str]:
    """UIDs of what the destination has, whole."""
    return {path.name.partition(".")[2] for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("stop", [House.stop, stop_hard], ids=["stopped", "killed"])
def test_up_and_back_again_with_work_in_flight(
    release: Path, tmp_path: Path, stop: Callable[[House], object]
) -> None:
    """Instances wait for a destination that is down while the version changes, twice; in the end it has every one."""
    with storescp("PACS", tmp_path / "received") as pacs:
        pacs.stop()
        with a_home(
            pacs.toml("pacs", "retry_initial_s = 1\nprobe_initial_s = 1\nprobe_max_s = 2\n"), whole=True
        ) as house:
            with version(release):
                house.start(timeout_s=START_S)
                all_of_it = sent(house, tmp_path / "a", 0)
                stop(house)
            (tmp_path / "backups").mkdir()
            made = house.run("backup", "--output", str(tmp_path / "backups"))
            assert made.returncode == 0, made.stderr
            backup = made.stdout.strip()

            house.start(timeout_s=START_S)  # this version: the ledger is migrated
            all_of_it |= sent(house, tmp_path / "b", 1000)
            pacs.start()
            wait_for(lambda: len(received(pacs.folder)) >= A_CALL, timeout_s=300, what="a part arrives")
            pacs.stop()
            all_of_it |= sent(house, tmp_path / "c", 2000)
            stop(house)

            back = house.run(
                "restore", backup, "--replace", "ledger", "--replace", "index", "--keep-revision"
            )
            assert back.returncode == 0, back.stderr
            with version(release):
                repaired = house.run("repair")
                assert repaired.returncode == 0, repaired.stdout + repaired.stderr
                house.start(timeout_s=START_S)
                all_of_it |= sent(house, tmp_path / "d", 3000)
                stop(house)

            house.start(timeout_s=START_S)  # and up once more
            pacs.start()
            wait_for(
                lambda: received(pacs.folder) >= all_of_it,
                timeout_s=300,
                what=f"all of {len(all_of_it)} arrive; missing {sorted(all_of_it - received(pacs.folder))[:5]}",
            )
            house.stop()
            # What was archived a moment before the restore was too young for the repair that came after it.
            again = house.run("repair")
            assert again.returncode == 0, again.stdout
            checked = house.run("check")
            assert checked.returncode == 0, checked.stdout
