"""The UIDs of PS3.6 Annex A as pydicom's dictionary has them, without the rest of pydicom.

`from pydicom._uid_dict import ...` imports all of pydicom and numpy first, which takes longer than most commands run.
The dictionary is a file of its own that imports nothing, so it alone is loaded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final


def _load() -> dict[str, tuple[str, str, str, str, str]]:
    package = importlib.util.find_spec("pydicom")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "_uid_dict.py")
        spec = importlib.util.spec_from_file_location("dicomrelay.dicom._uids_of_pydicom", path)
        if path.is_file() and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            found: dict[str, tuple[str, str, str, str, str]] = module.UID_dictionary
            return found
    # Not a folder of files (a zip, say): the long way.
    from pydicom._uid_dict import UID_dictionary  # noqa: PLC0415

    return UID_dictionary


# UID → name, type, information, "Retired" or "", keyword.
UID_DICTIONARY: Final = _load()
