"""`python -m scp_gateway`: the gateway alone, without workers to wake. `dicomrelay gateway` is the whole one."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from dicomrelay import log
from dicomrelay.errors import ExitCode, RelayError
from dicomrelay.settings import load
from scp_gateway.app import run


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; an exit code of docs/reference/exit-codes.md."""
    parser = argparse.ArgumentParser(prog="python -m scp_gateway", description=__doc__)
    parser.add_argument("--home", type=Path, help="where spool, logs and so on are (default ./var)")
    parser.add_argument("--config", type=Path, help="the TOML file (default relay.toml in the home)")
    options = parser.parse_args(arguments)
    log.configure()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = load(config=options.config, home=options.home)
        run(settings, wake=_nobody, ready=lambda: _say("ready"), stop=stop)
    except RelayError as error:
        _say(str(error))
        return error.exit_code
    return ExitCode.OK


def _nobody() -> None:
    """No workers: what arrives waits in the spool."""


def _say(words: str) -> None:
    sys.stderr.write(f"scp_gateway: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
