"""Inputs that nobody thought of, for the readers of PDUs, command sets and files, and for a gateway process.

    python -m chaos.fuzz --inputs 100000

Prints what it did and the seed that does it again. Exit code 0 when no fault was found, 1 otherwise; each input that
found one is saved. docs/design/hardening.md says what counts as a fault.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.fuzz_gateway import GatewayTarget
from chaos.fuzz_report import ReportTarget
from chaos.fuzz_samples import default_corpus, make_samples
from chaos.fuzz_targets import CommandTarget, Fault, FileTarget, PduTarget, StoreRequestTarget, Target
from chaos.gateway_process import usage_of
from dicomrelay.errors import ExitCode

# Percent of the inputs.
SHARES: Final = {"pdu": 30, "command": 10, "store": 5, "report": 5, "file": 25, "gateway": 25}
# An input in this process takes a few milliseconds; one to the gateway may wait for a deadline there.
_SLOWEST_S: Final = {"pdu": 2.0, "command": 2.0, "store": 2.0, "report": 2.0, "file": 2.0, "gateway": 15.0}
_TARGETS: Final = {
    each.name: each for each in (PduTarget, CommandTarget, StoreRequestTarget, ReportTarget, FileTarget)
}  # beside the gateway
_MOST_FAULTS: Final = 10
_MOST_GROWTH_BYTES: Final = 200 << 20


@dataclass
class Figures:
    """What came of one target."""

    target: str
    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    slowest_input: int = 0
    faults: list[str] = field(default_factory=list)
    remark: str = ""

    def __str__(self) -> str:
        line = (
            f"{self.target:8} {self.inputs:>7} inputs in {self.seconds:6.1f} s: {self.accepted} accepted, "
            f"{self.inputs - self.accepted} refused, {len(self.faults)} faults; slowest {self.slowest_s * 1000:.0f} ms "
            f"(input {self.slowest_input})"
        )
        return "\n".join([line, *([f"         {self.remark}"] if self.remark else []), *self.faults])


class TooSlow(Fault):
    """An input that does not come to an end."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, where a signal can: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TooSlow(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_target(target: Target, numbers: Sequence[int], *, seed: int, keep: Path) -> Figures:
    """The inputs `numbers` of one target.

    Parameters
    ----------
    seed : int
        Input i depends on it, the target's name and i alone.
    keep : Path
        Where inputs that find a fault are saved; made when there is one.
    """
    figures = Figures(target.name)
    memory = usage_of("self").rss_bytes
    began = time.monotonic()
    for number in numbers:
        data = target.make(random.Random(f"{seed}/{target.name}/{number}"))
        _attempt(target, data, number, figures, keep)
        if len(figures.faults) >= _MOST_FAULTS:
            break
    figures.seconds = time.monotonic() - began
    growth = usage_of("self").rss_bytes - memory
    if growth > _MOST_GROWTH_BYTES:
        figures.faults.append(f"  the memory of this process grew by {growth >> 20} MB")
    return figures


def _attempt(target: Target, data: bytes, number: int, figures: Figures, keep: Path) -> None:
    began = time.monotonic()
    figures.inputs += 1
    try:
        with _at_most(_SLOWEST_S[target.name]):
            figures.accepted += target.attempt(data)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        name = f"{target.name}-{hashlib.sha256(data).hexdigest()[:16]}.bin"
        keep.mkdir(parents=True, exist_ok=True)
        (keep / name).write_bytes(data)
        where = traceback.format_exc(limit=-2)
        figures.faults.append(
            f"  input {number}: {type(error).__name__}: {error!s:.500}\n    saved as {keep / name}\n{where}"
        )
    took = time.monotonic() - began
    if took > figures.slowest_s:
        figures.slowest_s, figures.slowest_input = took, number


def run(
    inputs: int,
    *,
    seed: int,
    keep: Path,
    home: Path,
    corpus: Path | None = None,
    targets: Sequence[str] = tuple(SHARES),
    only: int | None = None,
) -> list[Figures]:
    """The whole experiment.

    Parameters
    ----------
    inputs : int
        In all; the targets share them as `SHARES` says.
    home : Path
        For the gateway.
    corpus : Path, optional
        Real files to make inputs from, beside those made here.
    only : int, optional
        One input, by its number.
    """
    samples = make_samples(corpus)
    in_all = sum(SHARES[name] for name in targets)
    found: list[Figures] = []
    for name in targets:
        numbers = range(inputs * SHARES[name] // in_all) if only is None else [only]
        if name == "gateway":
            found.append(_run_gateway(GatewayTarget(samples, home), numbers, seed=seed, keep=keep))
        else:
            target = _TARGETS[name](samples)
            found.append(run_target(target, numbers, seed=seed, keep=keep))
    return found


def _run_gateway(target: GatewayTarget, numbers: Sequence[int], *, seed: int, keep: Path) -> Figures:
    try:
        figures = run_target(target, numbers, seed=seed, keep=keep)
        try:
            figures.remark = target.finish()
        except Fault as error:
            figures.faults.append(f"  at the end: {error}")
    finally:
        target.stop()
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many in all (default 100000)")
    parser.add_argument("--seed", type=int, default=None, help="for the same inputs again")
    parser.add_argument("--target", action="append", choices=list(SHARES), help="only this one; repeatable")
    parser.add_argument("--only", type=int, default=None, help="only this input, by its number")
    parser.add_argument("--replay", type=Path, default=None, help="a saved input, for the one --target")
    parser.add_argument(
        "--corpus", type=Path, default=default_corpus(), help="a folder of real files to start from"
    )
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-faults"), help="where inputs that find a fault are saved"
    )
    options = parser.parse_args(arguments)
    targets = options.target or list(SHARES)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    home = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"seed {seed}, home {home}, corpus {options.corpus or 'none'}", flush=True)
    if options.replay is not None:
        found = _replay(options.replay, targets, home, options.corpus)
    else:
        found = run(
            options.inputs, seed=seed, keep=options.keep, home=home, corpus=options.corpus, targets=targets, only=options.only
        )  # fmt: skip
    for figures in found:
        print(figures)
    mine = usage_of("self")
    print(f"memory of this process: {mine.rss_bytes >> 20} MB, at most {mine.peak_rss_bytes >> 20} MB")
    if any(figures.faults for figures in found):
        print(f"faults were found; again with --seed {seed}, or --replay FILE", file=sys.stderr)
        return ExitCode.SOME_FAILED
    shutil.rmtree(home)
    return ExitCode.OK


def _replay(file: Path, targets: Sequence[str], home: Path, corpus: Path | None) -> list[Figures]:
    name = targets[0] if len(targets) == 1 else file.name.partition("-")[0]
    samples = make_samples(corpus)
    figures = Figures(name)
    gateway = GatewayTarget(samples, home)
    targets_of = {
        "pdu": PduTarget(samples),
        "command": CommandTarget(samples),
        "store": StoreRequestTarget(samples),
        "report": ReportTarget(samples),
        "file": FileTarget(samples),
        "gateway": gateway,
    }
    try:
        _attempt(targets_of[name], file.read_bytes(), 0, figures, file.parent)
        figures.remark = gateway.finish()
    finally:
        gateway.stop()
    return [figures]


if __name__ == "__main__":
    raise SystemExit(main())
