"""A profile as JSON, to the child process and back. It has the key: over a pipe, never in an argument or a file."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from dicomrelay.edits.keys import Key
from dicomrelay.edits.values import (
    BurnedIn,
    Deidentification,
    Otherwise,
    PrivatePolicy,
    Profile,
    SafePrivate,
    ValueMap,
)


@lru_cache(maxsize=16)
def as_wire(profile: Profile) -> str:
    """A profile as one line of text."""
    return json.dumps(_said(profile), sort_keys=True)


@lru_cache(maxsize=16)
def from_wire(text: str) -> Profile:
    """The profile that such a line was made of."""
    said = json.loads(text)
    found = said.pop("deidentification")
    maps = tuple(ValueMap(tag, values, Otherwise(otherwise)) for tag, values, otherwise in said.pop("maps"))
    return Profile(
        said["name"],
        said["version"],
        deidentification=_deidentification(found) if found is not None else None,
        remove=tuple(said["remove"]),
        copies=tuple((target, source) for target, source in said["copies"]),
        maps=maps,
        values=tuple((tag, value) for tag, value in said["values"]),
        private=PrivatePolicy(said["private"]),
    )


def _deidentification(said: dict[str, Any]) -> Deidentification:
    return Deidentification(
        Key(bytes.fromhex(said["key"])),
        options=frozenset(said["options"]),
        shift_days=said["shift_days"],
        words=frozenset(said["words"]),
        safe_private=frozenset(SafePrivate(*each) for each in said["safe_private"]),
        burned_in=BurnedIn(said["burned_in"]),
        names_may_be_left=said["names_may_be_left"],
    )


def _said(profile: Profile) -> dict[str, Any]:
    found = profile.deidentification
    return {
        "name": profile.name,
        "version": profile.version,
        "remove": profile.remove,
        "copies": profile.copies,
        "maps": [(each.tag, dict(each.values), each.otherwise.value) for each in profile.maps],
        "values": profile.values,
        "private": profile.private.value,
        "deidentification": None
        if found is None
        else {
            "key": found.key.secret.hex(),
            "options": sorted(found.options),
            "shift_days": found.shift_days,
            "words": sorted(found.words),
            "safe_private": sorted((each.group, each.number, each.creator) for each in found.safe_private),
            "burned_in": found.burned_in.value,
            "names_may_be_left": found.names_may_be_left,
        },
    }
