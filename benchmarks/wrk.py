"""Requests a second over HTTP, by wrk: one thread, eight connections that are kept."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from urllib.request import Request, urlopen

from benchmarks.peers import RunFailed

CONNECTIONS = 8
_TIMEOUT_S = 60
_REQUESTS = re.compile(r"(\d+) requests in ([\d.]+)(m?s|m),")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def fetched(url: str, headers: Mapping[str, str]) -> bytes:
    """One answer.

    Raises
    ------
    RunFailed
        There is none, or it is no success.
    """
    try:
        with urlopen(Request(url, headers=dict(headers)), timeout=_TIMEOUT_S) as answer:
            return bytes(answer.read())
    except OSError as error:
        raise RunFailed(f"{url}: {error}") from None


def requests_a_second(url: str, headers: Mapping[str, str], *, seconds: float) -> float:
    """How many requests for one URL a second are answered.

    Raises
    ------
    RunFailed
        None was, or some were no success.
    """
    fields = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
    command = [
        "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{max(1, round(seconds))}s", "--timeout", f"{_TIMEOUT_S}s", *fields, url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 2 * _TIMEOUT_S)
    return rate_in(done.stdout, url) if done.returncode == 0 else _failed(url, done.stderr)


def rate_in(said: str, url: str) -> float:
    """The rate in what wrk says. Raises as `requests_a_second`."""
    bad = _BAD.search(said)
    if bad:
        _failed(url, bad[0])
    found = _REQUESTS.search(said)
    if found is None or int(found[1]) == 0:
        return _failed(url, f"no request was answered: {said.strip()[-500:]}")
    return int(found[1]) / (float(found[2]) * _SECONDS[found[3]])


def _failed(url: str, words: str) -> float:
    raise RunFailed(f"wrk, {url}: {words}")
