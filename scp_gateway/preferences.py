"""What people write in the settings, as what the gateway compares: names of transfer syntaxes, patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uid_dictionary import UID_DICTIONARY
from dicomrelay.errors import ConfigurationError


def transfer_syntax_uids(names: Sequence[str], where: str) -> tuple[str, ...]:
    """UIDs of transfer syntaxes from UIDs, names or keywords of PS3.6 Table A-1.

    Of a name letters and digits count, and "VR" does not: "explicit-little-endian", "JPEG2000Lossless".

    Raises
    ------
    ConfigurationError
        One is none; the message names it and the setting.
    """
    uids = []
    for name in names:
        uid = name.strip() if name.strip() in transfer_syntaxes() else _by_name().get(_plain(name))
        if uid is None:
            raise ConfigurationError(
                f"{where}: {name!r} is no transfer syntax; `dicomrelay transfer-syntaxes` lists them, by UID and by name"
            )
        uids.append(uid)
    return tuple(dict.fromkeys(uids))


@cache
def _by_name() -> dict[str, str]:
    found: dict[str, str] = {}
    for uid, syntax in transfer_syntaxes().items():
        keyword = UID_DICTIONARY[uid][4] if uid in UID_DICTIONARY else ""
        for name in (syntax.name, keyword):
            if name:
                found.setdefault(_plain(name), uid)
    return found


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower()).replace("vr", "")
