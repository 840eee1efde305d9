"""The database is deleted: R10. The spool knows what there is."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from chaos.campaign import campaign
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.instances import CT_IMAGE_STORAGE, encode_data_set
from chaos.relay import Relay
from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.spool import Provenance, Spool

_CAUGHT_UP_WITHIN_S: Final = 180.0
_REBUILT: Final = 4000
_RATE_BAR: Final = 2000.0
_WITHIN_S: Final = 120.0


def deleted(run: Run) -> Outcome:
    """Everything is killed, the ledger and the broker's file are deleted, `up` is started."""
    seconds: list[float] = []
    with campaign(run.folder, run.seed) as under_load:
        relay = under_load.relay
        for _ in range(run.trials):
            time.sleep(run.chance.uniform(0.5, 3.0))
            relay.kill_everything()
            for name in ("db", "redis"):
                shutil.rmtree(relay.home / name)
            relay.start()
            seconds.append(under_load.catch_up(within_s=_CAUGHT_UP_WITHIN_S))
            run.say(f"all of before has arrived {seconds[-1]:.1f} s after the start")
        account = under_load.finish()
    return Outcome(
        account,
        (
            Figure("all of before has arrived after the start, the longest", max(seconds), "s", bar=60),
            Figure("sent again for a deletion", account.duplicates / run.trials),
            Figure("registered anew, of a spool of its own", _rebuilt_a_second(run), "/s", bar=_RATE_BAR, at_least=True),
        ),
        note=f"what was delivered before and is still in the spool is sent again; the rate is of {_REBUILT} small items",
    )  # fmt: skip


def _rebuilt_a_second(run: Run) -> float:
    """Items a second from the first to the last row of a new ledger."""
    home = run.folder / "rebuilt"
    relay = Relay(home, "[archive]\nenabled = false\n", log=run.folder / "rebuilt.log")
    _fill(home / "spool", _REBUILT)
    try:
        # Once, so that they lie where settled items lie.
        relay.start()
        relay.wait_for(lambda: _rows(home) >= _REBUILT, within_s=_WITHIN_S, what="all is registered")
        relay.wait_for(lambda: relay.status()["spool"]["new"] == 0, within_s=_WITHIN_S, what="all is settled")
        relay.stop()
        shutil.rmtree(home / "db")
        relay.start(wait=False)
        relay.wait_for(lambda: _rows(home) > 0, within_s=_WITHIN_S, what="the first is registered again")
        first, began = _rows(home), time.monotonic()
        relay.wait_for(lambda: _rows(home) >= _REBUILT, within_s=_WITHIN_S, what="all is registered again")
        return (_REBUILT - first) / (time.monotonic() - began)
    finally:
        relay.close()


def _fill(folder: Path, count: int) -> None:
    with closing(Spool(folder)) as spool:
        for number in range(count):
            study = f"1.2.3.{number // 200}"
            uid = f"{study}.{number}"
            writer = spool.writer(
                sop_class_uid=CT_IMAGE_STORAGE,
                sop_instance_uid=uid,
                transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
                provenance=Provenance("CHAOS", "DICOMRELAY", "127.0.0.1", "a1", 1),
            )
            writer.write([memoryview(encode_data_set(uid, study, b"\1\2"))])
            writer.commit(Header(CT_IMAGE_STORAGE, uid, study, f"{study}.1", "CT"))


def _rows(home: Path) -> int:
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(home / "db" / "ledger.sqlite", timeout=5)) as ledger,
    ):
        return int(ledger.execute("SELECT count(*) FROM instances").fetchone()[0])
    return 0


FAULTS: Final = (
    Fault("R10", "everything is killed, ledger and broker's file are deleted", "deletions", 10, deleted),
)
