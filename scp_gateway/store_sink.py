"""The data set of one C-STORE request on its way into the spool.

The path to the answer: it touches the disk and the header scan, and no broker, no database, no parser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import DataSetError, RelayError, SpoolError
from dicomrelay.log import get_logger
from dicomrelay.net.service import AssociationInfo, Commit, StoreReply
from dicomrelay.spool import SpoolWriter
from scp_gateway.replies import STORED, mismatch, reply_to

_log = get_logger("dicomrelay.gateway")


class SpoolSink:
    """Scans and writes as the fragments come; durable before it answers.

    Parameters
    ----------
    committed : Callable
        Called after each commit; must return at once.
    """

    def __init__(
        self,
        writer: SpoolWriter,
        association: AssociationInfo,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        committed: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._association = association
        self._request = request
        self._committed = committed
        self._scanner = HeaderScanner(transfer_syntax_uid)
        self._scanning = True
        self._refusal: StoreReply | None = None

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes; after a refusal they are thrown away."""
        if self._refusal is not None:
            return
        try:
            if self._scanning:
                self._scanning = not any(self._scanner.feed(fragment) for fragment in fragments)
            self._writer.write(fragments)
        except (DataSetError, SpoolError) as error:
            self._refuse(reply_to(error), error)

    def finish(self) -> StoreReply | Commit:
        """What is wrong with the data set, or the commit that is left to do."""
        if self._refusal is not None:
            return self._refusal
        try:
            header = self._scanner.finish()
        except DataSetError as error:
            return self._refuse(reply_to(error), error)
        wrong = mismatch(
            header,
            sop_class_uid=self._request.sop_class_uid,
            sop_instance_uid=self._request.sop_instance_uid,
        )
        if wrong is not None:
            return self._refuse(wrong, None)
        return lambda: self._commit(header)

    def _commit(self, header: Header) -> StoreReply:
        """Make it durable, and only then answer Success."""
        try:
            self._writer.commit(header)
        except SpoolError as error:
            return self._refuse(reply_to(error), error)
        self._committed()
        return STORED

    def abandon(self) -> None:
        """The association died first."""
        self._writer.abandon()

    def _refuse(self, reply: StoreReply, error: RelayError | None) -> StoreReply:
        self._refusal = reply
        self._writer.abandon()
        log_refusal(self._association, self._request, reply, error)
        return reply


def log_refusal(
    association: AssociationInfo, request: CStoreRequest, reply: StoreReply, error: RelayError | None
) -> None:
    """One line for each instance that was refused."""
    _log.warning(
        "instance refused",
        action="instance.refused",
        association_id=association.id,
        calling_ae_title=association.calling_ae_title,
        sop_instance_uid=request.sop_instance_uid,
        status=f"0x{reply.status:04X}",
        reason=str(error) if error else reply.comment,
    )
