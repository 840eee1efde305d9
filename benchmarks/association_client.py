"""Our requestor, an association for each instance: connect, negotiate 128 contexts, store, release.

Usage: python -m benchmarks.association_client PORT DIRECTORY SOP_CLASS_UID     (prints its seconds)
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic

from benchmarks.our_sender import item_of
from benchmarks.proposal import contexts
from dicomrelay.net.requestor import Association, RemoteAe


def main() -> None:
    """Time everything from the first connection to the last release."""
    remote = RemoteAe("ANY", "127.0.0.1", int(sys.argv[1]))
    items = [item_of(path, sys.argv[3]) for path in sorted(Path(sys.argv[2]).iterdir())]
    proposed = contexts()
    began = monotonic()
    for item in items:
        with Association.request(remote, calling_ae_title="BENCH", contexts=proposed) as association:
            reply = association.store(item)
            if reply.status:
                raise SystemExit(f"{item.path}: {reply}")
    print(monotonic() - began)


if __name__ == "__main__":
    main()
