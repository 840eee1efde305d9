"""Our requestor, from a directory to the release: what the minimal sender does, with every check on.

Usage: python -m benchmarks.our_sender PORT DIRECTORY SOP_CLASS_UID     (prints its seconds)
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from time import perf_counter

from dicomrelay.net.requestor import Association, RemoteAe, StoreItem, contexts_for

SYNTAX = "1.2.840.10008.1.2.1"


def item_of(path: Path, sop_class_uid: str) -> StoreItem:
    """What the ledger would know of a file, read from its head as the minimal sender does."""
    source = os.open(path, os.O_RDONLY)
    size = os.fstat(source).st_size
    head = os.pread(source, 1024, 0)
    os.close(source)
    offset = 144 + struct.unpack_from("<I", head, 140)[0]
    at = head.find(b"\2\0\3\0UI")
    uid = head[at + 8 : at + 8 + struct.unpack_from("<H", head, at + 6)[0]].rstrip(b"\0").decode()
    return StoreItem(sop_class_uid, uid, SYNTAX, path, offset, size - offset)


def main() -> None:
    """Time everything from the first file's head to the release."""
    remote = RemoteAe("ANY", "127.0.0.1", int(sys.argv[1]))
    paths = sorted(Path(sys.argv[2]).iterdir())
    began = perf_counter()
    items = [item_of(path, sys.argv[3]) for path in paths]
    with Association.request(
        remote, calling_ae_title="BENCH", contexts=contexts_for(items)[0]
    ) as association:
        for item in items:
            reply = association.store(item)
            if reply.status:
                raise SystemExit(f"{item.path}: {reply}")
    print(perf_counter() - began)


if __name__ == "__main__":
    main()
