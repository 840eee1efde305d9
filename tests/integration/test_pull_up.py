"""A pull through a whole relay: the scheduler polls, a worker fetches from DCMTK's archive, the command follows another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.errors import ExitCode
from dicomrelay.net.requestor import RemoteAe
from tests.support.archives import OTHER_STUDY, dcmqrscp, store, write_study
from tests.support.house import House, a_home, wait_for

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


def pulls(house: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(house.run("pull", "list", "--json").stdout)["pulls"]
    return found


@pytest.mark.dcmtk
def test_a_poll_fetches_by_itself_and_a_person_what_else_there_is(tmp_path: Path) -> None:
    """What the poll fetched is archived; the command asks for one more study, follows it, and says that it is whole."""
    one = write_study(tmp_path / "in", instances=3)
    other = write_study(tmp_path / "in", study=OTHER_STUDY, instances=4)
    with a_home() as house:
        here = RemoteAe("DICOMRELAY", "127.0.0.1", house.settings.gateway.port)
        with dcmqrscp(tmp_path / "archive", destination=here) as peer:
            store(peer, one)
            entry = f'[[pulls]]\nname = "all"\nsource = "{peer.address}"\nkeys = ["PatientID=P1"]\nsince_last = false\n'
            house.config.write_text(f"{house.config.read_text('utf-8')}\n{entry}every_s = 3600\n", "utf-8")
            house.start()
            wait_for(
                lambda: [row["state"] for row in pulls(house)] == ["complete"], timeout_s=60, what="the poll"
            )
            assert (pulls(house)[0]["name"], pulls(house)[0]["here"]) == ("all", 3)

            store(peer, other)
            done = house.run("pull", "start", peer.address, "--study", OTHER_STUDY, "--get", "--json")
            assert done.returncode == ExitCode.OK, done.stderr
            row = json.loads(done.stdout)
            assert (row["state"], row["announced"], row["here"]) == ("complete", 4, 4)
            assert house.run("pull", "show", row["id"]).returncode == ExitCode.OK
            kept = house.home / "archive" / "data"
            wait_for(
                lambda: len(list(kept.rglob("*.dcm"))) == 7, timeout_s=30, what="both are in the archive"
            )
            assert house.stop() == 0
