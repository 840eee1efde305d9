"""The information models that can be asked, and their levels (PS3.4 Annexes C and K, PS3.6 Table A-1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """Query/Retrieve Level (0008,0052), from the top of the hierarchy to its bottom (PS3.4 Section C.3)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


# The unique key of each level (PS3.4 Section C.2.2.1.1).
UNIQUE_KEYS: Final = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}


@dataclass(frozen=True, slots=True)
class QueryModel:
    """One information model.

    Attributes
    ----------
    find, move, get : str
        Its SOP class for each operation; "" where there is none.
    levels : tuple of Level
        From the top; none for a worklist, which has no hierarchy.
    """

    name: str
    find: str
    move: str = ""
    get: str = ""
    levels: tuple[Level, ...] = ()

    def levels_down_to(self, level: Level) -> tuple[Level, ...]:
        """The levels from the top to `level`, both included."""
        return self.levels[: self.levels.index(level) + 1]


_Q: Final = "1.2.840.10008.5.1.4.1.2"
PATIENT_ROOT: Final = QueryModel("patient", f"{_Q}.1.1", f"{_Q}.1.2", f"{_Q}.1.3", tuple(Level))
STUDY_ROOT: Final = QueryModel("study", f"{_Q}.2.1", f"{_Q}.2.2", f"{_Q}.2.3", tuple(Level)[1:])
# Retired since 2004, and still the only one of some old archives.
PATIENT_STUDY_ONLY: Final = QueryModel(
    "patient-study-only", f"{_Q}.3.1", f"{_Q}.3.2", f"{_Q}.3.3", (Level.PATIENT, Level.STUDY)
)
MODALITY_WORKLIST: Final = QueryModel("worklist", "1.2.840.10008.5.1.4.31")

RETRIEVE_MODELS: Final = {model.name: model for model in (PATIENT_ROOT, STUDY_ROOT, PATIENT_STUDY_ONLY)}
