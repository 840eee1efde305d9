"""The scan of `dicomrelay send`, and nothing else.

Usage: python -m benchmarks.scan_headers DIRECTORY COUNT     (prints its seconds)
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic

from dicomrelay.cli.files import DicomFile, scan


def main() -> None:
    """Time everything from the listing of the folders to the last header."""
    began = monotonic()
    found = sum(isinstance(each, DicomFile) for each in scan([Path(sys.argv[1])], recursive=True))
    seconds = monotonic() - began
    if found != int(sys.argv[2]):
        raise SystemExit(f"{found} of {sys.argv[2]} files were taken for DICOM")
    print(seconds)


if __name__ == "__main__":
    main()
