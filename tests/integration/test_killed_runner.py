"""A forward worker that is killed between an answer and its commit: what was answered is not sent again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from dicomrelay.runtime import home
from tests.support.engine import MemoryService, running_acceptor
from tests.support.forwarding import delivered, forwarding, study, until
from tests.support.rooms import rooms_at
from workers.dead import end_leases_of_the_dead

_INSTANCES = 60
# Forwards what is due, with a ledger that is told of nothing: as if each commit were just about to begin.
_RUNNER = """
import sys
from pathlib import Path
from dicomrelay.settings import load
from workers import forward, outcomes
from workers.rooms import Rooms
outcomes.OutcomeWriter.flush = lambda self: None
rooms = Rooms.open(load(home=Path(sys.argv[1])))
assert forward.forward_next(rooms, "pacs")
"""


def test_what_was_answered_before_a_kill_is_not_sent_again(tmp_path: Path) -> None:
    """All is delivered, and nothing but what was under way came twice."""
    half_way = []

    def answered() -> None:
        half_way.append(None)
        if len(half_way) == _INSTANCES // 2:
            runner.send_signal(signal.SIGKILL)

    service = MemoryService(on_finish=answered)
    with running_acceptor(service) as peer:
        toml = f'[[destinations]]\nname = "pacs"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {peer.port}\n'
        with rooms_at(tmp_path, toml) as (rooms, _):
            study(rooms, "1.2.1", _INSTANCES, send_to=("pacs",))
            runner = subprocess.Popen([sys.executable, "-c", _RUNNER, str(tmp_path)])
            assert runner.wait(60) == -signal.SIGKILL
            assert delivered(rooms.ledger, "pacs").done == 0
            answers = home.answers_folder(rooms.settings)
            assert len(list(answers.iterdir())) == 1

            assert end_leases_of_the_dead(rooms.ledger, host=rooms.host).transfers
            with forwarding(rooms, 1):
                until(lambda: delivered(rooms.ledger, "pacs").done == _INSTANCES)
            assert list(answers.iterdir()) == []
    # The last answer of all is looked at when the next instance is on its way.
    assert _INSTANCES <= len(half_way) <= _INSTANCES + 2
