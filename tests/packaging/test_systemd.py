"""deploy/systemd: units that systemd understands, true of our commands and settings, with as few rights as they can bear.

systemd itself is not started here (docs/howto/systemd.md says what was tried). `systemd-analyze` reads the units as it would;
memory that is never both written and run is asked of the kernel, which is the one thing of hardening.conf that could stop a
library.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dicomrelay.cli.main import cli
from dicomrelay.runtime.queue import Queue
from dicomrelay.settings.model import Settings
from tests.support.markdown import ROOT

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
PROGRAM = "/opt/dicomrelay/bin/dicomrelay"
PARTS = {"gateway", "worker", "scheduler", "streamer", "monitor", "audit"}
# systemd-analyze gives 0 (nothing is left open) to 10; under 2 is what it calls OK.
MOST_EXPOSURE = 2.0
_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


def sections(name: str) -> dict[str, dict[str, list[str]]]:
    """Every value of every key, in order; a key may stand more than once."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = {}
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[section].setdefault(key, []).append(value)
    return found


def command(name: str) -> list[str]:
    """The words behind our program's name."""
    (line,) = sections(name)["Service"]["ExecStart"]
    program, *words = shlex.split(line.replace("%i", "1"))
    assert program == PROGRAM
    return words


@pytest.fixture
def analyzed(tmp_path: Path) -> Path:
    """The units where systemd would have them, with a program that is there."""
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("no systemd-analyze: install the package systemd")
        pytest.skip("no systemd-analyze is installed")
    for path in [*FOLDER.glob("*.service"), *FOLDER.glob("*.target")]:
        (tmp_path / path.name).write_text(path.read_text("utf-8").replace(PROGRAM, sys.executable), "utf-8")
    for name in ("dicomrelay.service.d", "dicomrelay-.service.d"):
        (tmp_path / name).mkdir()
        shutil.copy(FOLDER / "hardening.conf", tmp_path / name)
    return tmp_path


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "SYSTEMD_UNIT_PATH": f"{folder}:",
        "SYSTEMD_LOG_LEVEL": "warning",
        "LC_ALL": "C",
    }
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_systemd_finds_nothing_wrong_with_the_units(analyzed: Path) -> None:
    """No key that it does not know, no dependency that is not there, nothing that cannot be run."""
    names = [name.replace("@.", "@1.") for name in [*UNITS, "dicomrelay-parts.target"]]
    done = analyze(analyzed, "verify", "--man=no", *names)

    assert (done.returncode, [line for line in done.stderr.splitlines() if "dicomrelay" in line]) == (0, [])


def test_systemd_finds_a_wrong_key(analyzed: Path) -> None:
    """The check can fail."""
    unit = analyzed / "dicomrelay.service"
    unit.write_text(unit.read_text("utf-8").replace("KillMode=mixed", "KillMode=gently"), "utf-8")

    assert "dicomrelay.service" in analyze(analyzed, "verify", "--man=no", "dicomrelay.service").stderr


def test_the_units_are_closed_by_systemds_own_measure(analyzed: Path) -> None:
    """The drop-in goes for each of them; without it one is exposed to 9 and more."""
    names = [name.replace("@.", "@1.") for name in UNITS]
    done = analyze(analyzed, "security", "--offline=yes", "--no-pager", *names)
    found = dict(re.findall(r"exposure level for (\S+): ([\d.]+)", done.stdout))

    assert set(found) == set(names), done.stderr
    assert all(float(each) <= MOST_EXPOSURE for each in found.values()), found


@pytest.mark.parametrize("name", UNITS)
def test_each_unit_runs_one_of_our_commands_with_options_that_it_has(name: str) -> None:
    """The command line is understood; nothing is run."""
    word, *arguments = command(name)
    found = cli.get_command(None, word)  # type: ignore[arg-type]
    assert found is not None, word
    if word == "audit":
        assert arguments.pop(0) in found.list_commands(None)  # type: ignore[attr-defined]
        return
    settled = [each for each in arguments if each != "/etc/dicomrelay/relay.toml"]
    settled[settled.index("--config")] = "--verbose"  # the file is not here
    found.make_context(word, settled)


def test_every_part_has_its_unit_and_every_queue_its_worker() -> None:
    """What `up` starts by itself can be started by systemd."""
    commands = [command(name) for name in UNITS]
    queues = [each[each.index("--queues") + 1].split(",") for each in commands if each[0] == "worker"]

    assert {each[0] for each in commands} == {"up", *PARTS}
    assert sorted(each for part in queues for each in part) == sorted(queue.value for queue in Queue)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_started_when_it_is_ready_and_killed_only_after_its_own_bound(name: str) -> None:
    """sd_notify is what our processes speak anyway; 15 s is what a worker takes at most, 7 s a gateway."""
    service = sections(name)["Service"]

    assert service["Type"] == ["notify"]
    assert service["KillMode"] == ["mixed"]
    assert int(service["TimeoutStopSec"][0]) >= (15 if "gateway" in name else 30)


@pytest.mark.parametrize("name", UNITS)
def test_nobody_who_may_migrate_a_database_is_killed_for_being_slow(name: str) -> None:
    """A migration of a large ledger takes minutes, is undone when it is killed, and would never come to its end."""
    service = sections(name)["Service"]
    has_a_database = command(name)[0] not in {"gateway", "audit"}

    assert (service["TimeoutStartSec"] == ["infinity"]) == has_a_database


@pytest.mark.parametrize("name", UNITS)
def test_passwords_are_credentials(name: str) -> None:
    """Each that is loaded is named by a setting, and no value stands in a unit."""
    service = sections(name)["Service"]
    loaded = {each.split(":")[0] for each in service.get("LoadCredential", [])}
    named = set()
    for each in service.get("Environment", []):
        variable, _, value = each.partition("=")
        section, _, key = variable.removeprefix("DICOMRELAY_").lower().partition("__")
        assert key in Settings.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        assert value.startswith("%d/")
        named.add(value.removeprefix("%d/"))

    assert loaded == named
    word = command(name)[0]
    expected = {
        "gateway": {"broker_password"},
        "streamer": {"database_password"},
        "up": set(),
        "audit": set(),
    }
    assert loaded == expected.get(word, {"broker_password", "database_password"})


def test_the_libraries_bear_that_memory_is_never_both_written_and_run() -> None:
    """MemoryDenyWriteExecute, as the kernel has it (PR_SET_MDWE, Linux 6.3), and every service with its decoders imported."""
    words = (
        "import ctypes, mmap\n"
        "import scp_gateway.app, workers.app, workers.tasks, workers.scheduler, streamer.app, flower.app\n"
        "import imagecodecs, numpy, PIL.Image, re2, psycopg, uvloop, httptools, obstore, jpeg_ls, openjpeg, cryptography.x509\n"
        "code = numpy.arange(4096, dtype='u1').reshape(64, 64)\n"
        "assert (imagecodecs.ljpeg_decode(imagecodecs.ljpeg_encode(code)) == code).all()\n"
        "assert re2.compile('a+').search('baa')\n"
        "try:\n    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except PermissionError:\n    print('closed')\n"
    )
    libc = ctypes.CDLL(None, use_errno=True)

    def close() -> None:
        if libc.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
            os._exit(77)

    done = subprocess.run(
        [sys.executable, "-c", words], preexec_fn=close, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")

    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr


def test_the_how_to_names_every_unit() -> None:
    """And where the drop-in goes."""
    page = (ROOT / "docs" / "howto" / "systemd.md").read_text("utf-8")

    assert all(name.removesuffix(".service").replace("@", "@1") in page for name in UNITS)
    assert "dicomrelay-.service.d" in page
