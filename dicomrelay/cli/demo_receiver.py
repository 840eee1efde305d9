"""The demo's destination: a Storage SCP made with pynetdicom, with not a line of our own engine in it.

`python -m dicomrelay.cli.demo_receiver PORT FOLDER` stores each data set as it came, byte for byte.
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.runtime.readiness import notify_ready

AE_TITLE = "DEMO_PACS"
_UID = re.compile(r"[0-9.]{1,64}")


def main(port: int, folder: Path) -> None:
    """Receive until SIGTERM."""
    folder.mkdir(parents=True, exist_ok=True)

    def store(event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if not _UID.fullmatch(uid):
            return 0xC000
        part = folder / f"{uid}.part"
        part.write_bytes(event.encoded_dataset())
        part.rename(folder / f"{uid}.dcm")
        return 0x0000

    ae = AE(ae_title=AE_TITLE)
    syntaxes = list(transfer_syntaxes())
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), syntaxes)
    ae.add_supported_context(Verification)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    notify_ready()
    try:
        signal.pause()
    finally:
        if server:
            server.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
