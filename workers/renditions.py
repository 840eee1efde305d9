"""What the rules have made of instances before anybody asks (docs/design/renditions.md#by-rule)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from archive.renditions.renditions import Renditions
from archive.renditions.request import MIDDLE, REPRESENTATIVE, PictureRequest, thumbnail
from archive.values import StoredInstance
from dicomrelay.errors import InstanceNotFound, RelayError
from dicomrelay.ledger.values import InstanceFacts
from dicomrelay.log import get_logger
from dicomrelay.settings.renditions import RenditionRuleSettings
from dicomrelay.transcode.syntaxes import HTJ2K_LOSSLESS, JPEG_LS_LOSSLESS
from workers.rooms import Rooms

_COPIES: Final = {"htj2k": HTJ2K_LOSSLESS, "jpeg-ls": JPEG_LS_LOSSLESS}
_log = get_logger("dicomrelay.renditions")


def make_by_rule(rooms: Rooms, instances: Iterable[InstanceFacts]) -> int:
    """Make what the rules say of instances whose frames are indexed; how many renditions are there now.

    Nothing that goes wrong is a failure of an instance: what is not made is made when it is asked for.
    """
    rules, renditions = rooms.settings.renditions.rules, rooms.renditions
    if renditions is None:
        return 0
    found = list(instances)
    by_decision = (
        rooms.ledger.rulings.renditions([each.instance_id for each in found])
        if rooms.rules().makes_renditions
        else {}
    )
    count = 0
    for instance in found:
        if rooms.stopping.is_set():
            break
        wanted = [
            *dict.fromkeys([*wanted_of(rules, instance.modality), *by_decision.get(instance.instance_id, ())])
        ]
        if not wanted:
            continue
        with suppress(InstanceNotFound):  # removed meanwhile
            stored = rooms.archive.find(
                instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
            )
            count += sum(_made(renditions, stored, what) for what in wanted)
    if count:
        _log.info("renditions made", renditions=count)
    return count


def wanted_of(rules: Sequence[RenditionRuleSettings], modality: str) -> list[str]:
    """What all rules for a modality say together, each once."""
    fitting = (rule for rule in rules if not rule.modality or modality in rule.modality)
    return [*dict.fromkeys(what for rule in fitting for what in rule.make)]


def _made(renditions: Renditions, stored: StoredInstance, what: str) -> bool:
    try:
        _makers(renditions)[what](stored)
    except RelayError as error:
        _log.info(
            "rendition not made",
            rendition=what,
            sop_instance_uid=stored.sop_instance_uid,
            reason=str(error),
        )
        return False
    return True


def _makers(renditions: Renditions) -> dict[str, Callable[[StoredInstance], object]]:
    return {
        "thumbnail": lambda stored: renditions.picture(stored, MIDDLE, thumbnail()),
        "preview": lambda stored: renditions.picture(stored, REPRESENTATIVE, PictureRequest()),
        **{name: _copier(renditions, syntax) for name, syntax in _COPIES.items()},
    }


def _copier(renditions: Renditions, transfer_syntax_uid: str) -> Callable[[StoredInstance], object]:
    def copy(stored: StoredInstance) -> None:
        if stored.transfer_syntax_uid != transfer_syntax_uid:
            descriptor, _ = renditions.copy(stored, transfer_syntax_uid)
            os.close(descriptor)

    return copy
