"""What a log must not have in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

QUOTES = (
    "from dicomrelay import log; log.configure(verbose=True, json=True);"
    "import pydicom; from pydicom.charset import convert_encodings; from pydicom.dataset import Dataset;"
    "convert_encodings(['DOE^JANE']); pydicom.config.logger.error('DOE^JANE');"
    "log.get_logger('dicomrelay.test').info('said')"
)


@pytest.mark.parametrize("before", ["", "import pydicom;"])
def test_pydicom_says_nothing(before: str) -> None:
    """It quotes values: a character set that is none is whatever a peer put there. Its import sets a level of its own."""
    done = subprocess.run(
        [sys.executable, "-c", before + QUOTES], capture_output=True, text=True, timeout=60, check=True
    )
    assert "DOE" not in done.stdout + done.stderr
    assert '"said"' in done.stderr
