"""What a C-GET proposes: the contexts in which its sub-operations may come. No socket here.

An acceptor picks one transfer syntax of a context and must send in it. So what a peer keeps compressed arrives as it is only
where its transfer syntax has a context of its own; 128 contexts do not hold that for every storage SOP class at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dicomrelay.dicom.query_models import QueryModel
from dicomrelay.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntaxes,
)
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.errors import ConfigurationError
from dicomrelay.ul.pdu import RoleSelection
from dicomrelay.ul.reader import MAX_CONTEXTS

Context = tuple[str, tuple[str, ...]]

_S: Final = "1.2.840.10008.5.1.4.1.1"
# What archives hold most of, in the order of PS3.4 Table B.5-1.
COMMON_STORAGE: Final = tuple(
    f"{_S}.{tail}"
    for tails in (
        ("1", "1.1", "1.2", "1.3"),  # CR, DX, mammography, intra-oral
        ("2", "2.1", "3.1", "4", "4.1"),  # CT, enhanced CT, US multi-frame, MR, enhanced MR
        ("6.1", "7", "7.1", "7.2", "7.4"),  # US, secondary capture and its multi-frame kinds
        ("11.1", "12.1", "12.2", "13.1.3", "20"),  # grayscale presentation state, XA, XRF, tomosynthesis, NM
        ("66.4", "77.1.4", "128"),  # segmentation, VL photographic, PET
        ("88.11", "88.22", "88.33", "88.67", "104.1"),  # structured reports, dose, encapsulated PDF
        ("481.1", "481.2", "481.3", "481.5"),  # RT image, dose, structure set, plan
    )
    for tail in tails
)
# Compressed transfer syntaxes by how much there is of them; what is not here comes after, in the order of the registry.
_COMMON_COMPRESSED: Final = tuple(
    f"1.2.840.10008.1.2.{tail}"
    for tail in ("4.70", "4.90", "4.50", "4.80", "5", "4.91", "4.51", "4.81", "4.57", "1.99", "2", "4.201")
)


# DCMTK, and what is built on it, ends the association over a context with more than 50.
MAX_IN_ONE_CONTEXT: Final = 48


def transfer_syntax_groups(count: int) -> tuple[tuple[str, ...], ...]:
    """The transfer syntaxes in at most `count` groups, 1 to 127: the plain ones first, then one each, the rest last.

    With one or two groups there is no room for all of them, and retired ones are left out.
    """
    plain = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
    known = sorted(transfer_syntaxes().values(), key=lambda syntax: syntax.retired)
    order = dict.fromkeys((*_COMMON_COMPRESSED, *(syntax.uid for syntax in known)))
    left = [uid for uid in order if uid not in plain]
    if count == 1:
        return ((*plain, *left[: MAX_IN_ONE_CONTEXT - len(plain)]),)
    if count == 2:
        return (plain, tuple(left[:MAX_IN_ONE_CONTEXT]))
    if len(left) < count:
        return (plain, *((uid,) for uid in left))
    singles = count - 2
    while len(left) - singles > MAX_IN_ONE_CONTEXT * (count - 1 - singles):
        singles -= 1
    rest = left[singles:]
    shared = [tuple(rest[at : at + MAX_IN_ONE_CONTEXT]) for at in range(0, len(rest), MAX_IN_ONE_CONTEXT)]
    return (plain, *((uid,) for uid in left[:singles]), *shared)


def retrieve_contexts(
    model: QueryModel, sop_class_uids: Sequence[str] = ()
) -> tuple[list[Context], list[RoleSelection]]:
    """Contexts and roles for a C-GET.

    Parameters
    ----------
    sop_class_uids : sequence of str
        The storage SOP classes that may come, 1 to 127; none for the most common ones.

    Raises
    ------
    ConfigurationError
        More classes than contexts.
    """
    classes = list(dict.fromkeys(sop_class_uids)) or list(COMMON_STORAGE)
    most = MAX_CONTEXTS - 1  # one is the model's
    if len(classes) > most:
        raise ConfigurationError(
            f"{len(classes)} SOP classes; an association has room for {most}: ask in parts"
        )
    groups = transfer_syntax_groups(most // len(classes))
    contexts: list[Context] = [(model.get, IDENTIFIER_TRANSFER_SYNTAXES)]
    contexts += [(uid, group) for group in groups for uid in classes]
    return contexts, [RoleSelection(uid, scu=False, scp=True) for uid in classes]
