"""`dicomrelay doctor` as a program, with the system down and beside peers that answer, refuse, or are not there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.net.tls import door
from dicomrelay.runtime.ports import free_ports
from tests.support.certificates import Authority
from tests.support.engine import running_acceptor
from tests.support.processes import BIN, environment


def _doctor(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    command = [BIN / "dicomrelay", "doctor", "--json", "--home", folder / "home", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment({}), cwd=folder, check=False
    )
    return done.returncode, json.loads(done.stdout)


def _write(folder: Path, text: str) -> None:
    gateway, streamer = free_ports(2)
    head = f"[gateway]\nport = {gateway}\nmin_free_bytes = 0\n[streamer]\nport = {streamer}\n[monitor]\nenabled = false\n"
    (folder / "relay.toml").write_text(head + text)


def test_a_fresh_machine_has_nothing_wrong(tmp_path: Path) -> None:
    """Exit code 0, one warning, nothing made."""
    _write(tmp_path, "")
    code, report = _doctor(tmp_path)
    assert (code, report["failed"], report["warning"]) == (0, 0, 1)
    assert not (tmp_path / "home").exists()


def test_destinations_are_called_one_line_each(tmp_path: Path) -> None:
    """Answers under TLS; plain where TLS is spoken; not there. Each failure says what to do."""
    authority = Authority(tmp_path)
    (nobody,) = free_ports(1)
    with running_acceptor(tls=door(authority.acceptor(authority.issue("pacs", days=20)))) as running:
        rows = [
            ("good", running.port, f"tls = {{ ca = '{authority.path}' }}"),
            ("plain", running.port, ""),
            ("strange", running.port, "tls = true"),
            ("away", nobody, ""),
        ]
        _write(
            tmp_path,
            "".join(
                f"[[destinations]]\nname = '{name}'\nae_title = 'PACS'\nhost = '127.0.0.1'\nport = {port}\n{tls}\n"
                for name, port, tls in rows
            ),
        )
        code, report = _doctor(tmp_path, "--timeout", "2")
    found = [each for each in report["findings"] if each["about"].startswith("destination ")]
    good, expiring, plain, strange, away = found
    assert code == 3
    assert (good["verdict"], "TLSv1.3" in good["words"]) == ("ok", True)
    assert (expiring["verdict"], "expires on" in expiring["words"]) == ("warning", True)
    assert "speaks TLS" in plain["words"]
    assert "authority" in strange["words"]
    assert "cannot connect" in away["words"]
    assert all(each["do"] for each in (plain, strange, away))
    assert [each["code"] for each in (plain, strange, away)] == [3, 3, 3]


def test_wrong_settings_are_exit_code_2(tmp_path: Path) -> None:
    """With the key that is wrong, before anything else is looked at."""
    _write(tmp_path, "[study]\nquiet = 5\n")
    code, report = _doctor(tmp_path)
    assert code == 2
    assert "study.quiet" in report["error"]


def test_the_report_for_people_has_a_line_and_what_to_do(tmp_path: Path) -> None:
    """Verdicts first, so that one sees them in a column."""
    _write(tmp_path, "")
    done = subprocess.run(
        [BIN / "dicomrelay", "doctor", "--home", tmp_path / "home"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment({}),
        cwd=tmp_path,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok       settings: ")
    assert any(line.startswith("         → start `dicomrelay up`") for line in lines)
    assert "0 failed, 1 warnings" in done.stderr


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_our_own_gateway_is_no_stranger(tmp_path: Path, tls: bool) -> None:
    """A listener that speaks DICOM on our port, under TLS where the settings say so."""
    authority = Authority(tmp_path)
    pair = authority.issue("gate")
    settings = authority.acceptor(pair, mutual=True)
    with running_acceptor(tls=door(settings) if tls else None) as running:
        (streamer,) = free_ports(1)
        table = f"[gateway.tls]\ncertificate = '{pair.certificate}'\nkey = '{pair.key}'\nca = '{authority.path}'\n"
        (tmp_path / "relay.toml").write_text(
            f"[gateway]\nport = {running.port}\nmin_free_bytes = 0\n{table if tls else ''}"
            f"[streamer]\nport = {streamer}\n[monitor]\nenabled = false\n"
        )
        code, report = _doctor(tmp_path)
    (gateway,) = [each for each in report["findings"] if each["about"] == "port gateway"]
    assert (code, gateway["verdict"]) == (0, "ok")
    assert "answers" in gateway["words"]
