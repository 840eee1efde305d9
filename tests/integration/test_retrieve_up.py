"""Retrieving and storage commitment through a whole relay: what arrives a moment ago is committed to, and holds are kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dicomrelay.net.requestor import RemoteAe
from tests.integration.test_commitment_scp import asker, references_of
from tests.support.engine import MemoryService, running_acceptor
from tests.support.house import a_home, require, wait_for
from tests.support.queries import ROOT, STUDIES, write_studies
from tests.support.retrieves import identifier, move

pytestmark = pytest.mark.timeout(300)


@pytest.mark.dcmtk
def test_store_commit_move_hold(tmp_path: Path) -> None:
    """storescu sends; commitment is asked for at once; a move brings it back, unless its destination is held."""
    paths = write_studies(tmp_path / "in", STUDIES[:1])
    with asker() as peer, running_acceptor(MemoryService()) as viewer:
        toml = "".join(
            f'[[destinations]]\nname = "{name}"\nae_title = "{title}"\nhost = "127.0.0.1"\nport = {port}\nmoves_only = true\n'
            for name, title, port in (("viewer", "VIEWER", viewer.port), ("ct1", "CT1", peer.port))
        )
        with a_home(f"{toml}[commitment]\nsame_association_s = 0\n") as house:
            house.start()
            port = house.settings.gateway.port
            remote = RemoteAe("DICOMRELAY", "127.0.0.1", port)
            subprocess.run(
                [require("storescu"), "-aec", "DICOMRELAY", "127.0.0.1", str(port), *map(str, paths)],
                check=True,
                timeout=60,
                capture_output=True,
            )
            assert peer.ask(remote, references_of(paths)) == 0
            event_type, information, same = peer.wait(timeout_s=60)
            assert (event_type, same) == (1, False)
            assert len(information.ReferencedSOPSequence) == len(paths)
            assert viewer.service.stored == []  # for moves only: nothing was forwarded there
            keys = identifier("STUDY", StudyInstanceUID=f"{ROOT}.1")
            assert move(remote, keys, "VIEWER").status == 0
            assert len(viewer.service.stored) == len(paths)
            assert house.run("destinations", "hold", "viewer").returncode == 0
            held = move(remote, keys, "VIEWER")
            assert (held.status, held.conclusion.comment) == (
                0xA702,
                "viewer is held, ask again when it is released",
            )
            assert house.run("destinations", "release", "viewer").returncode == 0
            wait_for(
                lambda: move(remote, keys, "VIEWER").status == 0,
                timeout_s=10,
                what="a move to what is released",
            )
            assert house.stop() == 0
