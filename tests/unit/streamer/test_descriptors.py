"""How many instances are kept open where files are few."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_ASK = """
import json, resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from streamer.descriptors import instances_kept_open
print(json.dumps([instances_kept_open(100), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "kept", "limit"),
    [(256, 8192, 2048, 4552), (256, 1024, 284, 1024), (256, 300, 64, 300), (8000, 8000, 2048, 8000)],
)
def test_the_limit_is_raised_and_what_is_left_is_divided(soft: int, hard: int, kept: int, limit: int) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _ASK.format(soft=soft, hard=hard)], capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout) == [kept, limit]
