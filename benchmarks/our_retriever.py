"""Our C-MOVE and C-GET requestor: how long an archive takes to give a study.

Usage: python -m benchmarks.our_retriever PORT AE_TITLE STUDY_INSTANCE_UID SOP_CLASS_UID [--move-to AE]

Without `--move-to` it is a C-GET, and what comes is counted and thrown away: a disk of ours would be measured. Prints the
seconds from the request to the last response, instances and bytes, as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from time import perf_counter

from pydicom.dataset import Dataset

from benchmarks.our_sender import SYNTAX
from dicomrelay.dicom.query_models import STUDY_ROOT
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.query_retrieve import Get, Move
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.service import StoreReply
from dicomrelay.ul.pdu import RoleSelection

CALLING = "BENCH"


class Counting:
    """Takes what a C-GET brings, and keeps the number of it and of its bytes."""

    def __init__(self) -> None:
        self.instances = self.data_set_bytes = 0

    def begin_store(self, request: CStoreRequest, transfer_syntax_uid: str) -> Counting:  # noqa: ARG002
        """This takes every one: one comes after the other."""
        return self

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Count."""
        self.data_set_bytes += sum(map(len, fragments))

    def finish(self) -> StoreReply:
        """Success."""
        self.instances += 1
        return StoreReply(0)

    def abandon(self) -> None:
        """The association died; the count tells."""


def main() -> None:
    """Ask, and say how long it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.our_retriever", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("ae_title")
    parser.add_argument("study")
    parser.add_argument("sop_class")
    parser.add_argument("--move-to", metavar="AE")
    options = parser.parse_args()
    remote = RemoteAe(options.ae_title, "127.0.0.1", options.port)
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", options.study
    counting = Counting()
    operation: Get | Move
    if options.move_to:
        contexts = [(STUDY_ROOT.move, IDENTIFIER_TRANSFER_SYNTAXES)]
        association = Association.request(remote, calling_ae_title=CALLING, contexts=contexts)
        operation = Move(association, STUDY_ROOT, identifier, options.move_to)
    else:
        contexts = [(STUDY_ROOT.get, IDENTIFIER_TRANSFER_SYNTAXES), (options.sop_class, (SYNTAX,))]
        roles = [RoleSelection(options.sop_class, scu=False, scp=True)]
        association = Association.request(remote, calling_ae_title=CALLING, contexts=contexts, roles=roles)
        operation = Get(association, STUDY_ROOT, identifier, counting)
    with association:
        began = perf_counter()
        for _ in operation:
            pass
        seconds = perf_counter() - began
    last = operation.conclusion
    if last is None or last.status:
        raise SystemExit(f"the archive ended with {last}")
    print(json.dumps({"seconds": seconds, "instances": counting.instances, "bytes": counting.data_set_bytes}))


if __name__ == "__main__":
    main()
