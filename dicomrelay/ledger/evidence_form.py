"""The form in which evidence is hashed: no SQL, so that a report can be checked without a ledger.

docs/design/evidence.md says it in words; whoever wants to can check a chain with any JSON and SHA-256 of his own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

# What comes before the first row of a study.
BEGINNING: Final = ""

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
)


def canonical(value: Mapping[str, Any]) -> str:
    """One text for one value: keys sorted, nothing between the marks, ASCII only, no fractions in what we write."""
    return _ENCODER.encode(value)


def link(*, previous: str, study_instance_uid: str, number: int, at: int, kind: str, body: str) -> str:
    """The hash of a row: SHA-256, 64 hexadecimal digits.

    Parameters
    ----------
    previous : str
        The hash of the row before, `BEGINNING` for the first.
    study_instance_uid : str
        Whose chain it is.
    number : int
        From 1, without a gap.
    at : int
        Epoch milliseconds.
    kind : str
    body : str
        In canonical form.
    """
    # The canonical form of the six as one object, put together by hand: `body` is in that form already.
    text = (
        f'{{"at":{at:d},"body":{body},"kind":{_ENCODER.encode(kind)},"number":{number:d},'
        f'"previous":{_ENCODER.encode(previous)},"study_instance_uid":{_ENCODER.encode(study_instance_uid)}}}'
    )
    return hashlib.sha256(text.encode("ascii")).hexdigest()
