"""The demo's destination: a Storage SCP made with pynetdicom, with not a line of our own engine in it.

`python -m dicomrelay.cli.demo_receiver PORT FOLDER` stores each data set as it came, byte for byte.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicomrelay.dicom.file_names import component
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.runtime.readiness import notify_ready

AE_TITLE = "DEMO_PACS"


def keep(folder: Path, sop_instance_uid: str, data_set: bytes) -> None:
    """A file for a data set, whole or not there, whatever it calls itself."""
    name = component(sop_instance_uid)
    part = folder / f"{name}.part"
    part.write_bytes(data_set)
    part.rename(folder / f"{name}.dcm")


def main(port: int, folder: Path) -> None:
    """Receive until SIGTERM."""
    folder.mkdir(parents=True, exist_ok=True)

    def store(event: Any) -> int:
        keep(folder, str(event.request.AffectedSOPInstanceUID), event.encoded_dataset())
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
