"""pynetdicom as a Storage SCP that writes each data set as it came.

Usage: python -m benchmarks.pynetdicom_receiver DIRECTORY     (prints its port)
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt


def main() -> None:
    """Serve for ever."""
    directory = Path(sys.argv[1])

    def keep(event: evt.Event) -> int:
        name = str(event.request.AffectedSOPInstanceUID)
        (directory / name).write_bytes(event.encoded_dataset())
        return 0

    ae = AE("BENCH")
    ae.maximum_pdu_size = 131_072
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    print(server.socket.getsockname()[1], flush=True)
    Event().wait()


if __name__ == "__main__":
    main()
