"""Modality performed procedure steps: UIDs, states, and the statuses of the services on them (PS3.4 Annex F)."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

# PS3.6 Table A-1.
MODALITY_PERFORMED_PROCEDURE_STEP: Final = "1.2.840.10008.3.1.2.3.3"
MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE: Final = "1.2.840.10008.3.1.2.3.4"


class StepState(StrEnum):
    """Performed Procedure Step Status (0040,0252) (PS3.3 Section C.4.14)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"

    @property
    def is_final(self) -> bool:
        """Whether nothing changes the step any more (PS3.4 Section F.7.2.2.2)."""
        return self is not StepState.IN_PROGRESS


class ObjectStatus(IntEnum):
    """What N-CREATE, N-SET and N-GET are answered (PS3.7 Sections 10.1.2.1.7, 10.1.3.1.8 and 10.1.5.1.6)."""

    SUCCESS = 0x0000
    OPTIONAL_ATTRIBUTES_NOT_SUPPORTED = 0x0001
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    ATTRIBUTE_LIST_ERROR = 0x0107
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_SOP_INSTANCE = 0x0112
    ATTRIBUTE_VALUE_OUT_OF_RANGE = 0x0116
    INVALID_SOP_INSTANCE = 0x0117
    NO_SUCH_SOP_CLASS = 0x0118
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    NOT_AUTHORIZED = 0x0124
    UNRECOGNISED_OPERATION = 0x0211
    RESOURCE_LIMITATION = 0x0213


# PS3.4 Table F.7.2-2: an N-SET of a step that is final.
NO_LONGER_UPDATED: Final = "Performed Procedure Step Object may no longer be updated"
NO_LONGER_UPDATED_ERROR_ID: Final = 0xA710
# The statuses by which a peer has taken a message.
TAKEN: Final = frozenset(
    {
        ObjectStatus.SUCCESS,
        ObjectStatus.OPTIONAL_ATTRIBUTES_NOT_SUPPORTED,
        ObjectStatus.ATTRIBUTE_LIST_ERROR,
        ObjectStatus.ATTRIBUTE_VALUE_OUT_OF_RANGE,
    }
)
