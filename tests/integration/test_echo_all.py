"""`dicomrelay echo --all`: one destination that is set wrongly hinders no other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dicomrelay.runtime.ports import free_ports
from tests.support.engine import running_acceptor
from tests.support.processes import BIN, environment


@pytest.mark.timeout(60)
def test_every_destination_has_its_row(tmp_path: Path) -> None:
    """A certificate and a token that are not there are told beside those that answer, with the key that names them."""
    with running_acceptor() as running:
        rows = [
            ("good", running.port, ""),
            ("certless", running.port, "tls = { certificate = 'gone.pem', key = 'gone.key' }"),
            ("tokenless", running.port, "identity = { jwt_file = 'gone.jwt' }"),
            ("away", free_ports(1)[0], ""),
        ]
        (tmp_path / "relay.toml").write_text(
            "".join(
                f"[[destinations]]\nname = '{name}'\nae_title = 'PACS'\nhost = '127.0.0.1'\nport = {port}\n{more}\n"
                for name, port, more in rows
            ),
            "utf-8",
        )
        done = subprocess.run(
            [BIN / "dicomrelay", "echo", "--all", "--json", "--home", tmp_path / "home"],
            capture_output=True,
            text=True,
            timeout=50,
            env=environment({}),
            cwd=tmp_path,
            check=False,
        )
    good, certless, tokenless, away = json.loads(done.stdout)
    assert done.returncode == 1
    assert (good["exit_code"], good["error"]) == (0, "")
    assert "destinations.certless.tls.certificate" in certless["error"]
    assert "destinations.tokenless.identity.jwt_file" in tokenless["error"]
    assert (certless["exit_code"], tokenless["exit_code"], away["exit_code"]) == (2, 2, 3)
    assert "PACS@127.0.0.1" in certless["address"]
