"""A gateway that breaks the promise: it answers Success first and makes the instance durable a moment later.

The negative control of the kill test: an oracle that lets this pass is blind.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from dicomrelay.dicom.scan import Header
from dicomrelay.spool import SpoolRecord, SpoolWriter
from scp_gateway.__main__ import main

_careful_commit = SpoolWriter.commit


def _hasty_commit(writer: SpoolWriter, header: Header) -> SpoolRecord:
    def later() -> None:
        time.sleep(0.05)
        _careful_commit(writer, header)

    threading.Thread(target=later, daemon=True).start()
    return replace(writer._first)


if __name__ == "__main__":
    SpoolWriter.commit = _hasty_commit  # type: ignore[method-assign]
    raise SystemExit(main())
