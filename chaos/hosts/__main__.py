"""The proof on several hosts: `python -m chaos.hosts [--only NAME,…] [--broker redis|rabbitmq] [--write [--anew]]`. Wants root.

Exit code 1 when something was lost or a bar was missed, 3 when there can be no hosts here or they did not come up.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from chaos.figures import Row, Verdict
from chaos.hosts import report
from chaos.hosts.fleet import BROKERS, Fleet, fleet
from chaos.hosts.host import missing_hosts
from chaos.hosts.servers import missing_servers
from chaos.hosts.throughput import measure
from chaos.hosts.trials import TRIALS, Trial

_WITHIN_S = 150.0
_THROUGHPUT = "throughput"
_BEFORE_S = 3.0
# What each destination waits before an answer, so that workers are busy when something happens to them.
_ANSWER_S = 0.02


def main() -> int:
    """Run what was asked for; the exit code."""
    names = [trial.name for trial in TRIALS]
    parser = argparse.ArgumentParser(prog="python -m chaos.hosts", description=__doc__)
    parser.add_argument("--only", default=",".join([*names, _THROUGHPUT]), help="with commas")
    parser.add_argument("--broker", choices=sorted(BROKERS), default="redis")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="add it to docs/reference/hosts.md")
    parser.add_argument("--anew", action="store_true", help="with --write: in place of the trials before")
    asked = parser.parse_args()
    wanted = asked.only.split(",")
    if unknown := set(wanted) - {*names, _THROUGHPUT}:
        parser.error(
            f"no such trial: {', '.join(sorted(unknown))}; known: {', '.join([*names, _THROUGHPUT])}"
        )
    if why := missing_hosts() or missing_servers(asked.broker):
        print(f"chaos.hosts: {why}", file=sys.stderr)
        return 3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that hosts are taken down
    try:
        rows = _trials([trial for trial in TRIALS if trial.name in wanted], asked)
        if _THROUGHPUT in wanted:
            rows.append(_throughput(asked.broker))
            if asked.write:
                report.add(rows[-1], anew=True)
    except TimeoutError as error:
        print(f"chaos.hosts: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:  # a server that does not start here says nothing of the relay
        print(f"chaos.hosts: not measured: {error}", file=sys.stderr)
        return 3
    for row in rows:
        print(
            f"{row.verdict.value}: {row.title} ({row.unit}): {row.account}; {'; '.join(map(str, row.figures))}"
        )
    return 0 if all(row.verdict is Verdict.KEPT for row in rows) else 1


def _trials(trials: Sequence[Trial], asked: argparse.Namespace) -> list[Row]:
    """One after the other on the same hosts, each with senders and an account of its own."""
    if not trials:
        return []
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="relay-hosts-") as folder,
        fleet(Path(folder), broker=asked.broker, delay_s=_ANSWER_S, frames=False) as running,
    ):
        _say(f"{asked.broker}: {len(running.members)} hosts are up after {time.monotonic() - began:.0f} s")
        rows = []
        for number, trial in enumerate(trials):
            rows.append(_run(trial, running, Path(folder), asked.seed + number, asked.broker))
            if asked.write:
                report.add(rows[-1], anew=asked.anew)
        return rows


def _run(trial: Trial, running: Fleet, folder: Path, seed: int, broker: str) -> Row:
    began, before = time.monotonic(), running.delivered()
    running.send(folder, seed)
    running.wait_for(
        lambda: running.delivered() > before, within_s=_WITHIN_S, what="the first instances have arrived"
    )
    time.sleep(_BEFORE_S)
    figures = trial.run(running, _say)
    account, drained_s = running.finish(within_s=_WITHIN_S)
    _say(f"{trial.name}: {account}; at rest {drained_s:.1f} s after the senders")
    seconds = round(time.monotonic() - began, 1)
    return Row(trial.name, trial.title, 1, broker, seed, account, figures, seconds=seconds, **_when())


def _throughput(broker: str) -> Row:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="relay-hosts-") as folder:
        found = measure(Path(folder), _say, broker=broker)
    title = "two worker hosts against one"
    seconds = round(time.monotonic() - began, 1)
    return Row(_THROUGHPUT, title, 1, broker, 0, found.account, found.figures, seconds=seconds, **_when())


def _when() -> dict[str, str]:
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {"date": datetime.now(UTC).date().isoformat(), "revision": revision}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
