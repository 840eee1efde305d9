"""The limit of open files is raised as far as it may be, and never lowered."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys
from dicomrelay.runtime.descriptors import want_descriptors
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(want_descriptors(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "limit"),
    [(64, 256, 128, 128), (64, 256, 1000, 256), (128, 256, 100, 128)],
    ids=["raised", "to the hard limit", "not lowered"],
)
def test_the_limit_is_raised_as_far_as_it_may(soft: int, hard: int, wanted: int, limit: int) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(soft), str(hard), str(wanted)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert found == [str(limit), str(limit)]
