"""Holds associations open: each idle at first, then each with one data set sent, all at once, and then idle again.

Usage: python -m benchmarks.many_associations PORT FILE SOP_CLASS_UID COUNT

Says "open", then "stored"; after each it goes on when it is sent a line.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.our_sender import item_of
from dicomrelay.net.requestor import Association, RemoteAe


def main() -> None:
    """Open, wait, store, wait, release."""
    remote, item = RemoteAe("ANY", "127.0.0.1", int(sys.argv[1])), item_of(Path(sys.argv[2]), sys.argv[3])
    count = int(sys.argv[4])
    contexts = [(item.sop_class_uid, (item.transfer_syntax_uid,))]
    associations = [
        Association.request(remote, calling_ae_title="BENCH", contexts=contexts) for _ in range(count)
    ]
    _say("open")
    with ThreadPoolExecutor(count) as pool:
        for reply in pool.map(lambda association: association.store(item), associations):
            if reply.status:
                raise SystemExit(str(reply))
    _say("stored")
    for association in associations:
        association.release()


def _say(word: str) -> None:
    print(word, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
