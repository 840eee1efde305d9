"""`dicomrelay up` before Orthanc: what is sent is asked about by its own processes, reported to its gateway, and let go."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger.engine import database_url
from dicomrelay.runtime.home import ledger_url
from dicomrelay.runtime.ports import free_ports
from tests.support.archives import orthanc, write_study
from tests.support.house import House, a_home, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("method", ["commitment", "find"])
@pytest.mark.long
def test_up_verifies_and_then_lets_go(tmp_path: Path, method: str) -> None:
    (gateway_port,) = free_ports(1)
    relay_is = {"AET": "DICOMRELAY", "Host": "127.0.0.1", "Port": gateway_port}
    with orthanc(tmp_path / "orthanc", DicomModalities={"relay": relay_is}) as archive:
        toml = (
            f'[[destinations]]\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
            f'port = {archive.remote.port}\nverification = "{method}"\nretry_initial_s = 0.5\n'
        )
        with a_home(toml) as house:
            _listen_on(house, gateway_port)
            house.start()
            paths = write_study(tmp_path / "study", instances=20)
            sent = house.run("send", "-i", str(paths[0].parent), "--to", "pacs")
            assert sent.returncode == 0, sent.stderr
            wait_for(lambda: _verified(house) == 20, timeout_s=60, what="all is verified")
            wait_for(lambda: _spooled(house) == 0, timeout_s=60, what="the spool is let go")
            assert not list((house.home / "spool" / "reports").glob("*.json"))
            status = house.run("status")
            assert status.returncode == 0, status.stdout + status.stderr
            assert house.stop() == 0


def _listen_on(house: House, port: int) -> None:
    """Orthanc has to know where to report before the home is made."""
    before = f"port = {house.settings.gateway.port}\n"
    house.config.write_text(house.config.read_text("utf-8").replace(before, f"port = {port}\n", 1), "utf-8")


def _verified(house: House) -> int:
    engine = create_engine(database_url(ledger_url(house.settings)))
    with engine.connect() as connection:
        query = text(
            "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND verification = 'verified'"
        )
        found = int(connection.execute(query).scalar_one())
    engine.dispose()
    return found


def _spooled(house: House) -> int:
    folder = house.home / "spool"
    return sum(1 for where in ("new", "kept") for _ in (folder / where).rglob("*.dcm"))
