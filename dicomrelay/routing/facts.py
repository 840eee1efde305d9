"""What a rule may ask about an instance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """An instance as the rules see it; "" where the data set or the association did not say."""

    modality: str = ""
    source_ae_title: str = ""
    called_ae_title: str = ""
    sop_class_uid: str = ""
