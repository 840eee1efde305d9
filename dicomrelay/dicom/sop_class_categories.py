"""What kind of object a storage SOP class is, as data: UIDs and roots of UIDs, the longest that fits wins.

The standard has no such table; the kinds are those that people look for, in the order of PS3.3 Annex A as far as it goes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class SopClassCategory(StrEnum):
    """A kind of object."""

    X_RAY = "x-ray"
    MAMMOGRAPHY = "mammography"
    CT = "ct"
    MR = "mr"
    ULTRASOUND = "ultrasound"
    NUCLEAR = "nuclear"
    VISIBLE_LIGHT = "visible-light"
    VIDEO = "video"
    OPHTHALMOLOGY = "ophthalmology"
    SECONDARY_CAPTURE = "secondary-capture"
    STRUCTURED_REPORT = "structured-report"
    PRESENTATION_STATE = "presentation-state"
    WAVEFORM = "waveform"
    RADIOTHERAPY = "radiotherapy"
    DERIVED = "derived"
    DOCUMENT = "document"
    PROTOCOL = "protocol"
    TEMPLATE = "template"
    SECURITY = "security"
    INDUSTRY = "industry"
    OTHER = "other"
    PRIVATE = "private"

    @property
    def heading(self) -> str:
        """A heading for people."""
        return _HEADINGS[self]


_HEADINGS: Final = {
    SopClassCategory.X_RAY: "X-ray",
    SopClassCategory.MAMMOGRAPHY: "Mammography and tomosynthesis",
    SopClassCategory.CT: "CT",
    SopClassCategory.MR: "MR",
    SopClassCategory.ULTRASOUND: "Ultrasound and photoacoustics",
    SopClassCategory.NUCLEAR: "Nuclear medicine and PET",
    SopClassCategory.VISIBLE_LIGHT: "Visible light: endoscopy, microscopy, photography, intravascular OCT",
    SopClassCategory.VIDEO: "Video",
    SopClassCategory.OPHTHALMOLOGY: "Ophthalmology",
    SopClassCategory.SECONDARY_CAPTURE: "Secondary capture",
    SopClassCategory.STRUCTURED_REPORT: "Structured reporting and key objects",
    SopClassCategory.PRESENTATION_STATE: "Presentation states and structured displays",
    SopClassCategory.WAVEFORM: "Waveforms and audio",
    SopClassCategory.RADIOTHERAPY: "Radiation therapy",
    SopClassCategory.DERIVED: "Segmentation, registration, measurement maps, surfaces",
    SopClassCategory.DOCUMENT: "Encapsulated documents and models",
    SopClassCategory.PROTOCOL: "Procedure protocols and content assessment",
    SopClassCategory.TEMPLATE: "Without a patient: hanging protocols, palettes, implants, inventories",
    SopClassCategory.SECURITY: "Security screening (DICOS)",
    SopClassCategory.INDUSTRY: "Non-destructive evaluation (DICONDE)",
    SopClassCategory.OTHER: "Raw data and other objects",
    SopClassCategory.PRIVATE: "Private, by setting",
}

# Behind 1.2.840.10008.5.1.4.
_ROOTS: Final = {
    SopClassCategory.X_RAY: "1.1.1 1.1.12 1.1.13.1.1 1.1.13.1.2",
    SopClassCategory.MAMMOGRAPHY: "1.1.1.2 1.1.13.1.3 1.1.13.1.4 1.1.13.1.5",
    SopClassCategory.CT: "1.1.2",
    SopClassCategory.MR: "1.1.4",
    SopClassCategory.ULTRASOUND: "1.1.3 1.1.6",
    SopClassCategory.NUCLEAR: "1.1.5 1.1.20 1.1.128 1.1.130",
    SopClassCategory.VISIBLE_LIGHT: "1.1.14 1.1.77",
    SopClassCategory.VIDEO: "1.1.77.1.1.1 1.1.77.1.2.1 1.1.77.1.4.1",
    SopClassCategory.OPHTHALMOLOGY: "1.1.77.1.5 1.1.78 1.1.79 1.1.80 1.1.81 1.1.82 1.1.12.77",
    SopClassCategory.SECONDARY_CAPTURE: "1.1.7",
    SopClassCategory.STRUCTURED_REPORT: "1.1.88",
    SopClassCategory.PRESENTATION_STATE: "1.1.11 1.1.131 1.1.9.100",
    SopClassCategory.WAVEFORM: "1.1.9",
    SopClassCategory.RADIOTHERAPY: "1.1.481 34",
    SopClassCategory.DERIVED: "1.1.30 1.1.66.1 1.1.66.2 1.1.66.3 1.1.66.4 1.1.66.5 1.1.66.6 1.1.66.7 1.1.66.8 1.1.67 1.1.68 "
    "1.1.91",
    SopClassCategory.DOCUMENT: "1.1.104",
    SopClassCategory.PROTOCOL: "1.1.200 1.1.90",
    SopClassCategory.TEMPLATE: "38 39 43 44 45 1.1.201",
    SopClassCategory.SECURITY: "1.1.501",
    SopClassCategory.INDUSTRY: "1.1.601",
    # Raw data; and what came before presentation states and waveforms: overlays, curves and tables of their own.
    SopClassCategory.OTHER: "1.1.66 1.1.8 1.1.10 1.1.129 1.1.40",
}
_BY_ROOT: Final = {
    f"1.2.840.10008.5.1.4.{root}": category for category, roots in _ROOTS.items() for root in roots.split()
}


def category_of(sop_class_uid: str) -> SopClassCategory | None:
    """The kind of object of a SOP class of the standard; None for one that no row of the table covers."""
    root = sop_class_uid
    while root:
        if root in _BY_ROOT:
            return _BY_ROOT[root]
        root = root.rpartition(".")[0]
    return None
