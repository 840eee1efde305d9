"""Which operations beyond storing are served, to whom, and by what (docs/design/query-retrieve-scp.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from dicomrelay.dicom.status import Status
from dicomrelay.dimse.messages import CFindRequest
from dicomrelay.net.provided_operations import failure
from dicomrelay.net.service import Answer, AssociationInfo, OperationHandler, RequestedOperation
from dicomrelay.settings import QuerySettings
from scp_gateway.admission import Right
from scp_gateway.query.extended import agreed_by, agreement
from scp_gateway.query.find import FIND_MODELS, FindService


class Operations:
    """The operations of a listener; for all its threads."""

    def __init__(self, settings: QuerySettings, find: FindService) -> None:
        self._settings = settings
        self._find = find

    @property
    def services(self) -> Mapping[str, Right]:
        """Their SOP classes, with the right that each needs."""
        return dict.fromkeys(FIND_MODELS, Right.QUERY)

    def extended(self, sop_class_uid: str, asked: bytes) -> bytes | None:
        """The answer to the extended negotiation of a SOP class of theirs; None for none."""
        return agreement(asked, self._settings) if sop_class_uid in FIND_MODELS else None

    def handler(self, rights: Collection[Right], answered: Mapping[str, bytes]) -> OperationHandler:
        """What serves one association.

        Parameters
        ----------
        answered : mapping
            The answers to its extended negotiation, by SOP class.
        """

        def serve(
            association: AssociationInfo, operation: RequestedOperation
        ) -> Iterator[Answer | None]:
            request = operation.request
            if not isinstance(request, CFindRequest):
                return iter([Answer(failure(request, Status.UNRECOGNISED_OPERATION, "not served here"))])
            if Right.QUERY not in rights:
                return iter([Answer(failure(request, Status.NOT_AUTHORIZED, "no right to query"))])
            agreed = agreed_by(answered.get(request.sop_class_uid, b""), self._settings)
            return self._find.serve(association, operation, agreed)

        return serve
