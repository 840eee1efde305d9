"""The section `archive`: where it is, what it does with other bytes under a known UID, and how it is looked after."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dicomrelay.settings.storage import ArchiveRetentionSettings, ScrubSettings, StorageSettings


class ArchiveSettings(StorageSettings):
    """The archive."""

    enabled: bool = Field(True, description="Keep every instance in the archive.")
    path: Path | None = Field(None, description="Where the archive is; by default archive/ in the home.")
    policy: Literal["keep_first", "replace", "refuse"] | None = Field(
        None,
        description="What becomes of other bytes under a SOP Instance UID that the archive holds; whatever is not served is "
        'listed. "keep_first" sets them aside under conflicts/; "replace" sets aside what is held and puts them in its place; '
        '"refuse" does not take them. None: as the archive was made, which is keep_first unless it was said. It is for imports: '
        "what comes through the gateway is set aside in the spool before it gets here.",
    )
    scrub: ScrubSettings = Field(
        ScrubSettings(), description="Reading everything again, to find damage in time."
    )
    retention: ArchiveRetentionSettings = Field(
        ArchiveRetentionSettings(), description="When stored studies may go; never, unless it says so."
    )
