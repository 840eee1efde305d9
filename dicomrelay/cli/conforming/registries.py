"""Tables that come from the registries: SOP classes, transfer syntaxes, contexts, information models, keys."""

from __future__ import annotations

from collections import Counter

from dicomrelay.cli.conforming.cells import table
from dicomrelay.dicom import query_models
from dicomrelay.dicom.commitment import STORAGE_COMMITMENT_PUSH_MODEL
from dicomrelay.dicom.sop_class_categories import SopClassCategory
from dicomrelay.dicom.sop_classes import sop_class_name, storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import TransferSyntaxCategory, transfer_syntaxes
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.settings import Settings
from scp_gateway.admission import Right
from scp_gateway.archive_port import indexed_attributes
from scp_gateway.performed import PERFORMED_CLASSES
from scp_gateway.query import beside
from scp_gateway.query.find import FIND_MODELS
from scp_gateway.retrieve import GET_CLASSES, MOVE_CLASSES
from scp_gateway.worklist import WORKLIST_MODEL

# Matched and answered at their level, and made of what lies below it.
_GATHERED = {query_models.Level.STUDY: ("ModalitiesInStudy", "SOPClassesInStudy")}


def _in_order(uid: str) -> list[int]:
    return [int(number) for number in uid.split(".")]


def sop_class_categories(_settings: Settings) -> str:
    """How many storage SOP classes of each kind there are."""
    counts = Counter(each.category for each in storage_sop_classes().values())
    return table(
        ["category", "SOP classes"],
        ([each.value, str(counts[each])] for each in SopClassCategory if counts[each]),
    )


def sop_classes(settings: Settings) -> str:
    """Every storage SOP class, and what the settings add."""
    rows = [
        [each.name, each.uid, each.category.value + (", retired" if each.retired else "")]
        for each in sorted(storage_sop_classes().values(), key=lambda each: _in_order(each.uid))
    ]
    rows += [
        ["private, by `gateway.private_sop_classes`", f"`{uid}`", "private"]
        for uid in settings.gateway.private_sop_classes
    ]
    return table(["SOP class", "UID", "category of objects"], rows)


def transfer_syntax_categories(_settings: Settings) -> str:
    """How many transfer syntaxes of each kind there are."""
    counts = Counter(each.category for each in transfer_syntaxes().values())
    return table(
        ["category", "transfer syntaxes"],
        ([each.value, str(counts[each])] for each in TransferSyntaxCategory if counts[each]),
    )


def transfer_syntax_list(_settings: Settings) -> str:
    """Every transfer syntax."""
    return table(
        ["transfer syntax", "UID", "kind"],
        ([each.name, each.uid, each.category.value] for each in transfer_syntaxes().values()),
    )


def served(settings: Settings) -> dict[str, Right]:
    """SOP classes beyond storage and verification that a listener with these settings takes contexts of.

    As `scp_gateway.app` puts its operations together; a test compares.
    """
    found: dict[str, Right] = {}
    if settings.archive.enabled:
        found |= dict.fromkeys(FIND_MODELS, Right.QUERY)
        found |= dict.fromkeys(MOVE_CLASSES, Right.MOVE) | dict.fromkeys(GET_CLASSES, Right.GET)
        found[STORAGE_COMMITMENT_PUSH_MODEL] = Right.COMMITMENT
    if settings.worklist.enabled:
        found[WORKLIST_MODEL] = Right.WORKLIST
    if settings.performed_procedure_steps.enabled:
        found |= dict.fromkeys(PERFORMED_CLASSES, Right.MPPS)
    return found


def accepted_contexts(settings: Settings) -> str:
    """Presentation contexts of the acceptor."""
    rows = [
        ["Verification", VERIFICATION, "all of Annex A.A.2", "all who may call"],
        [
            "every storage SOP class of Annex A.A.1",
            "–",
            "all of Annex A.A.2, or those of `[[peers]]`",
            "store",
        ],
    ]
    rows += [
        [sop_class_name(uid), uid, "Explicit and Implicit VR Little Endian", right.value]
        for uid, right in sorted(served(settings).items(), key=lambda each: _in_order(each[0]))
    ]
    return table(["abstract syntax", "UID", "transfer syntaxes", "right"], rows)


def query_information_models(_settings: Settings) -> str:
    """The models of queries and retrieves, as SCU."""
    models = {**query_models.RETRIEVE_MODELS, "worklist": query_models.MODALITY_WORKLIST}
    return table(
        ["model", "FIND", "MOVE", "GET"],
        ([name, each.find or "–", each.move or "–", each.get or "–"] for name, each in models.items()),
    )


def query_keys(_settings: Settings) -> str:
    """What the index has, by level."""
    rows = []
    for level in query_models.Level:
        names = [each.keyword for each in indexed_attributes().values() if each.level is level]
        rows.append([level.value, ", ".join([*names, *_GATHERED.get(level, ())])])
    return table(["level", "keys that are matched and answered"], rows)


def looked_up(_settings: Settings) -> str:
    """How many attributes are looked up in a stored instance, in words."""
    counts = Counter(beside.LEVELS.values())
    levels = query_models.Level
    return (
        f"{counts[levels.STUDY]} more of a study, {counts[levels.SERIES]} of a series and {counts[levels.IMAGE]} of "
        "an instance"
    )
