"""A profile of the settings, ready to be applied."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from dicomrelay.edits.content_items import content_items
from dicomrelay.edits.keys import Key
from dicomrelay.edits.table import table
from dicomrelay.edits.values import (
    BurnedIn,
    Deidentification,
    Otherwise,
    PrivatePolicy,
    Profile,
    SafePrivate,
    ValueMap,
)
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import Settings
from dicomrelay.settings.edit_targets import attribute_tag
from dicomrelay.settings.edits import DeidentifySettings, EditSettings, safe_private_parts

# Raised with every change of what a profile does to a data set: it is part of each version.
_IMPLEMENTATION: Final = 2


def profile(settings: Settings, name: str) -> Profile:
    """The profile of that name.

    Raises
    ------
    ConfigurationError
        There is none, or its key cannot be used; it names the file.
    """
    found = next((each for each in settings.edits if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in settings.edits) or "none"
        raise ConfigurationError(f"There is no profile {name!r} in [[edits]]; known: {known}")
    return compiled(found)


def compiled(settings: EditSettings) -> Profile:
    """A profile with its key read.

    Raises
    ------
    ConfigurationError
        The key cannot be used; it names the file.
    """
    found = settings.deidentify
    what = _deidentification(found) if found is not None else None
    return Profile(
        settings.name,
        _version(settings, what),
        deidentification=what,
        remove=tuple(attribute_tag(each) for each in settings.remove),
        copies=tuple((attribute_tag(to), attribute_tag(source)) for to, source in settings.copies.items()),
        maps=tuple(
            ValueMap(attribute_tag(each.attribute), each.values, Otherwise(each.otherwise))
            for each in settings.map
        ),
        values=tuple((attribute_tag(each), value) for each, value in settings.set.items()),
        private=PrivatePolicy(settings.private),
    )


def _deidentification(found: DeidentifySettings) -> Deidentification:
    parts = [part for part in map(safe_private_parts, found.safe_private) if part is not None]
    return Deidentification(
        Key.read(found.key_file),
        options=frozenset(found.options),
        shift_days=found.shift_days,
        words=frozenset(word.casefold() for word in found.words),
        safe_private=frozenset(SafePrivate(*part) for part in parts),
        burned_in=BurnedIn(found.burned_in),
        names_may_be_left=found.names_left == "send",
    )


def _version(settings: EditSettings, what: Deidentification | None) -> str:
    said = settings.model_dump(mode="json", by_alias=True, exclude={"deidentify": {"key_file"}})
    rest = [
        _IMPLEMENTATION,
        table().digest,
        content_items().digest,
        what.key.fingerprint if what is not None else "",
    ]
    return hashlib.sha256(json.dumps([said, *rest], sort_keys=True).encode("ascii")).hexdigest()[:12]
