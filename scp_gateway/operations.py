"""Which operations beyond storing are served, to whom, and by what (docs/design/query-retrieve-scp.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from dicomrelay.dicom.commitment import STORAGE_COMMITMENT_PUSH_MODEL
from dicomrelay.dicom.status import Status
from dicomrelay.dimse.messages import CFindRequest, CMoveRequest
from dicomrelay.net.provided_operations import failure
from dicomrelay.net.service import (
    ActionHandler,
    Answer,
    AssociationInfo,
    ObjectHandler,
    OperationHandler,
    RequestedOperation,
)
from dicomrelay.settings import QuerySettings
from scp_gateway.admission import Right
from scp_gateway.commitment import Commitments
from scp_gateway.performed import PERFORMED_CLASSES, PerformedService
from scp_gateway.query.extended import agreed_by, agreement
from scp_gateway.query.find import FIND_MODELS, FindService
from scp_gateway.retrieve import GET_CLASSES, MOVE_CLASSES, Retrieve
from scp_gateway.worklist import WORKLIST_MODEL, Sees, WorklistService


class Operations:
    """The operations of a listener; for all its threads.

    Parameters
    ----------
    find : FindService, optional
        Answers queries of the archive; None answers none.
    retrieve : Retrieve, optional
        Serves C-MOVE and C-GET; None serves neither.
    commitments : Commitments, optional
        Takes requests for storage commitment; None takes none.
    worklist : WorklistService, optional
        Answers queries of the worklist; None answers none.
    performed : PerformedService, optional
        Takes what is said of performed procedure steps; None takes nothing.
    """

    def __init__(
        self,
        settings: QuerySettings,
        find: FindService | None = None,
        retrieve: Retrieve | None = None,
        commitments: Commitments | None = None,
        worklist: WorklistService | None = None,
        performed: PerformedService | None = None,
    ) -> None:
        self._settings = settings
        self._find = find
        self._retrieve = retrieve
        self._commitments = commitments
        self._worklist = worklist
        self._performed = performed

    @property
    def services(self) -> Mapping[str, Right]:
        """Their SOP classes, with the right that each needs."""
        found = dict.fromkeys(FIND_MODELS, Right.QUERY) if self._find is not None else {}
        if self._retrieve is not None:
            found |= dict.fromkeys(MOVE_CLASSES, Right.MOVE) | dict.fromkeys(GET_CLASSES, Right.GET)
        if self._commitments is not None:
            found[STORAGE_COMMITMENT_PUSH_MODEL] = Right.COMMITMENT
        if self._worklist is not None:
            found[WORKLIST_MODEL] = Right.WORKLIST
        if self._performed is not None:
            found |= dict.fromkeys(PERFORMED_CLASSES, Right.MPPS)
        return found

    def extended(self, sop_class_uid: str, asked: bytes) -> bytes | None:
        """The answer to the extended negotiation of a SOP class of theirs; None for none."""
        return agreement(asked, self._settings) if sop_class_uid in FIND_MODELS else None

    def actions(self, rights: Collection[Right]) -> ActionHandler | None:
        """What takes the N-ACTION requests of one association; None for a peer that may not ask."""
        if self._commitments is None or Right.COMMITMENT not in rights:
            return None
        return self._commitments.take

    def objects(self, rights: Collection[Right]) -> ObjectHandler | None:
        """What takes the N-CREATE, N-SET and N-GET requests of one association; None for a peer that may not ask."""
        if self._performed is None or Right.MPPS not in rights:
            return None
        return self._performed.take

    def handler(
        self, rights: Collection[Right], answered: Mapping[str, bytes], sees: Sees = None
    ) -> OperationHandler:
        """What serves one association.

        Parameters
        ----------
        answered : mapping
            The answers to its extended negotiation, by SOP class.
        sees : sequence of patterns, optional
            The stations whose steps of the worklist it sees; None: not said.
        """

        def serve(association: AssociationInfo, operation: RequestedOperation) -> Iterator[Answer | None]:
            request = operation.request
            if request.sop_class_uid == WORKLIST_MODEL and self._worklist is not None:
                if Right.WORKLIST not in rights:
                    return _not_authorized(operation, Right.WORKLIST)
                return self._worklist.serve(association, operation, sees)
            if isinstance(request, CFindRequest) and self._find is not None:
                if Right.QUERY not in rights:
                    return _not_authorized(operation, Right.QUERY)
                agreed = agreed_by(answered.get(request.sop_class_uid, b""), self._settings)
                return self._find.serve(association, operation, agreed)
            if self._retrieve is None:
                return iter([Answer(failure(request, Status.UNRECOGNISED_OPERATION, "not served here"))])
            right = Right.MOVE if isinstance(request, CMoveRequest) else Right.GET
            if right not in rights:
                return _not_authorized(operation, right)
            serves = self._retrieve.move if right is Right.MOVE else self._retrieve.get
            return serves(association, operation)

        return serve


def _not_authorized(operation: RequestedOperation, right: Right) -> Iterator[Answer | None]:
    return iter([Answer(failure(operation.request, Status.NOT_AUTHORIZED, f"no right to {right.value}"))])
