"""An archive on pynetdicom, another implementation than ours: Storage, Storage Commitment and C-FIND, as its script says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicomrelay.dicom.commitment import STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE
from dicomrelay.runtime.ports import free_ports

SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


@dataclass
class Request:
    """One N-ACTION that came."""

    transaction_uid: str
    uids: tuple[str, ...]


@dataclass
class CommitmentPeer:
    """What it does, and what came to it.

    Attributes
    ----------
    reports : str
        Where it reports: "same" association, "early" on the same before it answers the N-ACTION, "new" association, or
        "never".
    loses : dict of str to int
        SOP Instance UIDs that it answers Success for and throws away, so often.
    reasons : dict of str to int
        Failure Reason of an instance, whether it is there or not.
    times : int
        How often it reports.
    leaves_out : set of str
        UIDs that are in no list of its report.
    role : bool
        Whether it proposes the role of SCP on a new association.
    matches_lists : bool
        Whether a C-FIND with a list of UIDs finds anything.
    find_status, action_status : int
        What it answers instead of doing it.
    report_statuses : list of int
        What its reports were answered; -1 for none.
    """

    port: int
    gateway_port: int = 0
    reports: str = "same"
    loses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    times: int = 1
    leaves_out: set[str] = field(default_factory=set)
    transaction_uid: str = ""  # in place of the one that was asked with
    role: bool = True
    matches_lists: bool = True
    find_status: int = 0
    action_status: int = 0
    stored: dict[str, Dataset] = field(default_factory=dict)
    arrived: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    report_statuses: list[int] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_reports(self, count: int) -> list[int]:
        """The statuses of `count` reports, once they are answered."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.report_statuses) >= count, 20)
            return list(self.report_statuses)

    def on_store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.arrived.append(uid)
        if self.loses.get(uid, 0) > 0:
            self.loses[uid] -= 1
        else:
            self.stored[uid] = event.dataset
        return 0x0000

    def on_action(self, event: Any) -> tuple[int, None]:
        information = event.action_information
        uids = tuple(str(item.ReferencedSOPInstanceUID) for item in information.ReferencedSOPSequence)
        request = Request(str(information.TransactionUID), uids)
        self.requests.append(request)
        if self.action_status:
            return self.action_status, None
        if self.reports == "early":
            self._say(event.assoc, request)
        elif self.reports != "never":
            threading.Thread(target=self._report, args=(event.assoc, request), daemon=True).start()
        return 0x0000, None

    def on_find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        keys = event.identifier
        wanted = keys.get("SOPInstanceUID")
        if self.find_status:
            yield self.find_status, None
            return
        several = [str(each) for each in wanted] if wanted and not isinstance(wanted, str) else []
        if several and not self.matches_lists:
            return
        for uid, data_set in self.stored.items():
            asked = several or ([str(wanted)] if wanted else [])
            if keys.SeriesInstanceUID != data_set.SeriesInstanceUID or (asked and uid not in asked):
                continue
            answer = Dataset()
            answer.QueryRetrieveLevel = "IMAGE"
            answer.StudyInstanceUID = data_set.StudyInstanceUID
            answer.SeriesInstanceUID = data_set.SeriesInstanceUID
            answer.SOPInstanceUID = uid
            yield 0xFF00, answer

    def _report(self, association: Any, request: Request) -> None:
        if self.reports == "same":
            time.sleep(0.2)  # behind the N-ACTION response
            for _ in range(self.times):
                self._say(association, request)
            return
        ae = AE("ARCHIVE")
        ae.add_requested_context(StorageCommitmentPushModel, SYNTAXES)
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if self.role else []
        for _ in range(self.times):
            own = ae.associate("127.0.0.1", self.gateway_port, ae_title="DICOMRELAY", ext_neg=roles)
            if own.is_established:
                if not self.role:  # what a careless peer does: it sends without having agreed on the role
                    for context in own.accepted_contexts:
                        context._as_scp = True
                self._say(own, request)
                own.release()
            else:
                self._note(-1)

    def _say(self, association: Any, request: Request) -> None:
        told = [uid for uid in request.uids if uid not in self.leaves_out]
        failed = {uid: self.reasons.get(uid, 0x0112) for uid in told if uid not in self.stored}
        failed |= {uid: self.reasons[uid] for uid in told if uid in self.reasons}
        information = Dataset()
        information.TransactionUID = self.transaction_uid or request.transaction_uid
        information.ReferencedSOPSequence = Sequence([_item(uid) for uid in told if uid not in failed])
        if failed:
            information.FailedSOPSequence = Sequence([_item(uid, why) for uid, why in failed.items()])
        status, _ = association.send_n_event_report(
            information,
            2 if failed else 1,
            StorageCommitmentPushModel,
            STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE,
        )
        self._note(status.get("Status", -1))

    def _note(self, status: int) -> None:
        with self.changed:
            self.report_statuses.append(status)
            self.changed.notify_all()


def _item(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = CTImageStorage
    item.ReferencedSOPInstanceUID = uid
    if reason is not None:
        item.FailureReason = reason
    return item


@contextmanager
def commitment_peer() -> Iterator[CommitmentPeer]:
    """One that listens on a port of its own; its script may be changed at any time."""
    (port,) = free_ports(1)
    peer = CommitmentPeer(port)
    ae = AE("ARCHIVE")
    ae.add_supported_context(CTImageStorage, SYNTAXES)
    ae.add_supported_context(StorageCommitmentPushModel, SYNTAXES)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind, SYNTAXES)
    server = ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_STORE, peer.on_store),
            (evt.EVT_N_ACTION, peer.on_action),
            (evt.EVT_C_FIND, peer.on_find),
        ],
    )
    assert server is not None
    try:
        yield peer
    finally:
        server.shutdown()
