"""Our requestor, from a directory to the release: what the minimal sender does, with every check on.

Usage: python -m benchmarks.our_sender PORT DIRECTORY SOP_CLASS_UID [--window N] [--part K/N] [--calling AE] [--wait]

Prints its seconds, from the first file's head to the release, and the window that was negotiated, as JSON. With `--wait` it
says "ready" first and begins when it is sent a line; with `--part` it sends every Nth file only.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
from pathlib import Path
from time import monotonic

from dicomrelay.net.requestor import Association, RemoteAe, StoreItem
from dicomrelay.net.service import StoreReply

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


def send(port: int, paths: list[Path], sop_class_uid: str, window: int, calling: str) -> int:
    """All of them over one association; the window that was negotiated."""
    items = [item_of(path, sop_class_uid) for path in paths]
    with Association.request(
        RemoteAe("ANY", "127.0.0.1", port),
        calling_ae_title=calling,
        contexts=[
            (sop_class, (syntax,))
            for sop_class, syntax in dict.fromkeys(
                (item.sop_class_uid, item.transfer_syntax_uid) for item in items
            )
        ],
        window=window,
    ) as association:
        for item, reply in association.stores(items):
            if not isinstance(reply, StoreReply) or reply.status:
                raise SystemExit(f"{item.path}: {reply}")
        return association.window


def main() -> None:
    """Send, and say how long it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.our_sender", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("directory", type=Path)
    parser.add_argument("sop_class_uid")
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--calling", default="BENCH")
    parser.add_argument("--wait", action="store_true")
    options = parser.parse_args()

    part, parts = map(int, options.part.split("/"))
    paths = sorted(options.directory.iterdir())[part - 1 :: parts]
    if options.wait:
        print("ready", flush=True)
        sys.stdin.readline()
    began = monotonic()
    window = send(options.port, paths, options.sop_class_uid, options.window, options.calling)
    ended = monotonic()
    print(json.dumps({"seconds": ended - began, "began": began, "ended": ended, "window": window}))


if __name__ == "__main__":
    main()
