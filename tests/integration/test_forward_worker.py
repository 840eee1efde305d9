"""Forward workers as processes under `up`: what a signal to stop does to transfers under way."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.ledger.engine import database_url
from dicomrelay.runtime.home import ledger_url
from tests.support.forwarding import delivered, slow_peer, study, until
from tests.support.house import House, a_home
from workers.rooms import Rooms


def _states(house: House) -> set[tuple[str, int]]:
    engine = create_engine(database_url(ledger_url(house.settings)))
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT state, attempt FROM transfers")).all()
    engine.dispose()
    return {(row.state, row.attempt) for row in rows}


@pytest.mark.long
def test_a_signal_to_stop_hands_back_what_is_under_way_and_the_next_start_goes_on() -> None:
    """No lease is left to wait for, no attempt is counted, and nobody has to be killed."""
    with slow_peer(0.02) as port:
        toml = f'[[destinations]]\nname = "pacs"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {port}\nassociations = 2\n'
        with a_home(toml) as house:
            house.start()
            rooms = Rooms.open(house.settings)
            study(rooms, "1.2.5", 900, send_to=("pacs",))
            until(lambda: delivered(rooms.ledger, "pacs").done > 50)
            until(lambda: ("running", 1) in _states(house))

            assert house.stop() == 0
            assert "was killed" not in house.output()
            assert _states(house) <= {("ready", 0), ("done", 1)}
            before = delivered(rooms.ledger, "pacs").done
            assert before < 900

            house.start()
            took = until(lambda: delivered(rooms.ledger, "pacs").done > before + 50, 60)
            print(f"went on {took:.1f} s after everything was ready")
            assert took < 20
            rooms.close()
            rooms.spool.close()
