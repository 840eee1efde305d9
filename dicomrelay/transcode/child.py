"""The process that decodes: one line of JSON in, one out, until its input ends.

It is started for a batch with a bound on its memory, and dies with its parent. What kills it costs one instance.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from errno import EFBIG, ENOSPC
from pathlib import Path
from typing import Any

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.change import change
from dicomrelay.transcode.values import Source, TranscodeLimits

_PR_SET_PDEATHSIG = 1


Work = Callable[[dict[str, Any]], dict[str, Any]]


def serve(parent: int, limits: TranscodeLimits, work: Work) -> None:
    """Answer each line by `work` until the input ends.

    Parameters
    ----------
    parent : int
        The process to die with.
    work : callable
        Makes the file at `copy` of what is asked, and says its `length`. It may raise anything.
    """
    _bind(parent, limits)
    warnings.simplefilter("ignore")  # of pydicom, about values: they are nobody's business
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    # Whatever a codec prints must not stand between our lines.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line), limits, work)) + "\n")
        answers.flush()


def main(parent: int, limits: TranscodeLimits) -> None:
    """Make copies until the input ends."""

    def copy(asked: dict[str, Any]) -> dict[str, Any]:
        source = Source(Path(asked["source"]), asked["offset"], asked["length"], asked["from"])
        made = change(source, asked["to"], Path(asked["copy"]), limits)
        return {"length": made.length, "digest": made.digest}

    serve(parent, limits, copy)


def _bind(parent: int, limits: TranscodeLimits) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)
    # Ctrl-C, or a service manager that stops a whole group: the parent ends us when it is done with the instance.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold a patient's image


def _answer(asked: dict[str, Any], limits: TranscodeLimits, work: Work) -> dict[str, Any]:
    # A file that would become larger fails with EFBIG: no copy takes the room that the spool needs.
    resource.setrlimit(resource.RLIMIT_FSIZE, (asked["most"], resource.RLIM_INFINITY))
    try:
        return work(asked)
    except NotTranscodable as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": f"it needs more than {limits.memory_bytes} bytes of memory"}
    except OSError as error:
        if error.errno == EFBIG:
            return {"errno": ENOSPC, "words": "no room for a copy"}
        return {"errno": error.errno, "words": error.strerror or type(error).__name__}
    except Exception as error:  # noqa: BLE001 - a fault of ours costs this instance, and no process
        return {"refused": f"a fault of ours: {type(error).__name__}"}


if __name__ == "__main__":
    main(int(sys.argv[1]), TranscodeLimits(**json.loads(sys.argv[2])))
