"""The 128 presentation contexts of the association benchmark, as our requestor and as storescu's profile propose them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.data_sets import CT_IMAGE_STORAGE
from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

CONTEXTS = 128
_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
PROFILE = "Bench"


def contexts() -> list[tuple[str, tuple[str, ...]]]:
    """CT Image Storage and 63 other storage SOP classes, each in two transfer syntaxes."""
    current = sorted(uid for uid, each in storage_sop_classes().items() if not each.retired)
    classes = [CT_IMAGE_STORAGE, *(uid for uid in current if uid != CT_IMAGE_STORAGE)][: CONTEXTS // 2]
    return [(sop_class, (syntax,)) for sop_class in classes for syntax in _SYNTAXES]


def write_profile(path: Path) -> None:
    """The same as an association negotiation profile of DCMTK (its asconfig.txt)."""
    names = dict(zip(_SYNTAXES, ("Explicit", "Implicit"), strict=True))
    lines = ["[[TransferSyntaxes]]"]
    for uid, name in names.items():
        lines += [f"[{name}]", f"TransferSyntax1 = {uid}"]
    lines += ["[[PresentationContexts]]", "[Storage]"]
    for number, (sop_class, (syntax,)) in enumerate(contexts(), 1):
        lines.append(f"PresentationContext{number} = {sop_class}\\{names[syntax]}")
    lines += ["[[Profiles]]", f"[{PROFILE}]", "PresentationContexts = Storage"]
    path.write_text("\n".join(lines) + "\n", "ascii")
