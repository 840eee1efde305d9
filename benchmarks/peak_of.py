"""Runs a command and says the most memory that it held.

Usage: python -m benchmarks.peak_of COMMAND…     (prints seconds and MiB as JSON; what the command says goes to stderr)

A process of its own, and a small one: Linux counts what the caller held when it started a program as the program's.
"""

from __future__ import annotations

import json
import os
import sys
from time import monotonic


def main() -> int:
    """The command's exit code."""
    began = monotonic()
    pid = os.fork()
    if pid == 0:
        os.dup2(2, 1)
        os.execv(sys.argv[1], sys.argv[1:])
    _, status, usage = os.wait4(pid, 0)
    print(json.dumps({"seconds": monotonic() - began, "peak_mib": usage.ru_maxrss / 1024}))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
