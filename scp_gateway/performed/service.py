"""N-CREATE, N-SET and N-GET of performed procedure steps: read within bounds, kept, answered (PS3.4 Annex F)."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.performed_step import (
    MODALITY_PERFORMED_PROCEDURE_STEP,
    MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE,
    ObjectStatus,
)
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.identifier_bounds import TooManyElements
from dicomrelay.dimse.identifier_buffer import UTF_8
from dicomrelay.dimse.messages import NCreateRequest, NGetRequest, NSetRequest, ObjectRequest
from dicomrelay.errors import MalformedDataSet, RelayError, SpoolFull
from dicomrelay.log import get_logger
from dicomrelay.net.provided_objects import MAX_OBJECT_BYTES
from dicomrelay.net.service import AssociationInfo, ObjectReply
from dicomrelay.scheduling.performed_rules import StepRefused
from dicomrelay.scheduling.performed_values import StepMessage
from scp_gateway.performed.bounds import StepBounds

if TYPE_CHECKING:
    from scp_gateway.schedule_port import PerformedPort

_log = get_logger("dicomrelay.gateway")

PERFORMED_CLASSES: Final = (MODALITY_PERFORMED_PROCEDURE_STEP, MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE)
# Some 15,000 references; decoded they are some 100 MB.
MAX_ELEMENTS: Final = 60_000
# So many are decoded at once in a listener process, and a further one waits so long.
_AT_ONCE: Final = 4
_WAIT_S: Final = 30.0
_CHARACTER_SET: Final = 0x0008_0005
# A message that is refused for a value is read again for it when it is no longer.
_READ_AGAIN_BYTES: Final = 65_536
_INVALID: Final = ObjectStatus.INVALID_ATTRIBUTE_VALUE
_WITHOUT_TAGS: Final = frozenset({_INVALID, ObjectStatus.MISSING_ATTRIBUTE_VALUE})


class PerformedService:
    """Takes requests. For all threads of a listener.

    Parameters
    ----------
    steps : PerformedPort
        Where they are kept.
    bounds : StepBounds
        Asked before a message is taken.
    """

    def __init__(self, steps: PerformedPort, bounds: StepBounds) -> None:
        self._steps = steps
        self._bounds = bounds
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def take(
        self,
        association: AssociationInfo,
        request: ObjectRequest,
        data_set: bytes | None,
        transfer_syntax_uid: str,
    ) -> ObjectReply:
        """A `net.service.ObjectHandler`: 0000 says that what is asked for is durable."""
        uid = request.sop_instance_uid
        state = ""
        if isinstance(request, NCreateRequest) and not uid:
            uid = f"2.25.{uuid.uuid4().int}"  # PS3.5 Annex B.2
        if not self._places.acquire(timeout=_WAIT_S):
            return _told(association, request, uid, state, _busy())
        try:
            state, reply = self._answered(association, request, uid, data_set, transfer_syntax_uid)
        except StepRefused as error:
            reply = _refused(error, uid, data_set, transfer_syntax_uid)
        except SpoolFull as error:
            _log.warning("no room for a performed procedure step", action="mpps.no-room", error=str(error))
            reply = ObjectReply(ObjectStatus.RESOURCE_LIMITATION, "no room here, say it again later")
        except RelayError as error:
            _log.warning("a performed procedure step is not kept", action="mpps.not-kept", error=str(error))
            reply = _busy()
        finally:
            self._places.release()
        return _told(association, request, uid, state, reply)

    def _answered(
        self,
        association: AssociationInfo,
        request: ObjectRequest,
        uid: str,
        data_set: bytes | None,
        syntax: str,
    ) -> tuple[str, ObjectReply]:
        """The state of the step after it, and what is answered."""
        _check(request, uid)
        if isinstance(request, NGetRequest):
            return "", self._got(association, request, syntax)
        if data_set is None:
            raise StepRefused(
                ObjectStatus.RESOURCE_LIMITATION, f"a data set of more than {MAX_OBJECT_BYTES} bytes"
            )
        self._bounds.check(association, len(data_set))
        message = StepMessage(
            uid, association.calling_ae_title.strip(), syntax, data_set, _decoded(data_set, syntax)
        )
        if isinstance(request, NSetRequest):
            return self._steps.change(message), ObjectReply(ObjectStatus.SUCCESS, sop_instance_uid=uid)
        self._steps.create(message)
        return "IN PROGRESS", ObjectReply(ObjectStatus.SUCCESS, sop_instance_uid=uid)

    def _got(self, association: AssociationInfo, request: NGetRequest, syntax: str) -> ObjectReply:
        step = self._steps.attributes(request.sop_instance_uid, association.calling_ae_title.strip())
        missing: tuple[int, ...] = ()
        if request.attributes:
            missing = tuple(tag for tag in request.attributes if tag not in step and tag != _CHARACTER_SET)
            step = _only(step, request.attributes)
        step.SpecificCharacterSet = UTF_8
        status = ObjectStatus.OPTIONAL_ATTRIBUTES_NOT_SUPPORTED if missing else ObjectStatus.SUCCESS
        return ObjectReply(status, attributes=missing, data_set=encode_identifier(step, syntax))


def _check(request: ObjectRequest, uid: str) -> None:
    """That it is about an object of ours."""
    served = PERFORMED_CLASSES if isinstance(request, NGetRequest) else PERFORMED_CLASSES[:1]
    if request.sop_class_uid not in served:
        raise StepRefused(ObjectStatus.NO_SUCH_SOP_CLASS, "no performed procedure step")
    if not uid:
        raise StepRefused(ObjectStatus.NO_SUCH_SOP_INSTANCE, "no Requested SOP Instance UID")
    if not is_tolerable_uid(uid):
        raise StepRefused(ObjectStatus.INVALID_SOP_INSTANCE, "the SOP Instance UID is no UID")


def _refused(error: StepRefused, uid: str, data_set: bytes | None, syntax: str) -> ObjectReply:
    """0106 has what is wrong as its data set (PS3.4 Section F.7.2.1.3); it and 0121 no list of tags (PS3.7 Annex C.5)."""
    tags = () if error.status in _WITHOUT_TAGS else error.tags
    wrong = None
    if data_set and len(data_set) <= _READ_AGAIN_BYTES and error.status is _INVALID:
        with suppress(
            Exception
        ):  # what is wrong may be such that pydicom does not write it: then it is left out
            given = _only(decode_identifier(data_set, syntax, max_elements=MAX_ELEMENTS), error.tags)
            given.SpecificCharacterSet = UTF_8
            wrong = encode_identifier(given, syntax) if len(given) > 1 else None
    return ObjectReply(error.status, str(error), uid, error.error_id, tags, wrong)


def _decoded(data_set: bytes, syntax: str) -> Dataset:
    if not data_set:
        raise StepRefused(ObjectStatus.INVALID_ATTRIBUTE_VALUE, "no data set")
    try:
        return decode_identifier(data_set, syntax, max_elements=MAX_ELEMENTS)
    except TooManyElements:
        raise StepRefused(
            ObjectStatus.RESOURCE_LIMITATION, f"a data set of more than {MAX_ELEMENTS} elements"
        ) from None
    except MalformedDataSet:
        raise StepRefused(ObjectStatus.INVALID_ATTRIBUTE_VALUE, "a data set that cannot be read") from None


def _only(step: Dataset, tags: tuple[int, ...]) -> Dataset:
    found = Dataset()
    for tag in tags:
        if tag in step:
            found[tag] = step[tag]
    return found


def _busy() -> ObjectReply:
    return ObjectReply(ObjectStatus.RESOURCE_LIMITATION, "not kept, say it again later")


def _told(
    association: AssociationInfo, request: ObjectRequest, uid: str, state: str, reply: ObjectReply
) -> ObjectReply:
    is_taken = reply.status in (ObjectStatus.SUCCESS, ObjectStatus.OPTIONAL_ATTRIBUTES_NOT_SUPPORTED)
    log = _log.info if is_taken else _log.warning
    log(
        "performed procedure step",
        action="mpps.taken" if is_taken else "mpps.refused",
        association_id=association.id,
        calling_ae_title=association.calling_ae_title,
        request=type(request).__name__.removesuffix("Request"),
        sop_instance_uid=uid,
        status=f"0x{reply.status:04X}",
        **({"state": state} if state else {}),
        **({"reason": reply.comment} if reply.comment else {}),
    )
    return reply
