"""The scorecard: faults done to a relay on purpose, with their bars.

    python -m chaos.scorecard [--only R3,R6] [--trials N] [--json FILE] [--write]

Exit code 0 when every bar was kept, 4 when one was missed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chaos import figures, report
from chaos.faults import (
    Fault,
    Run,
    answers,
    black_hole,
    content,
    crowd,
    full_disk,
    hostile,
    hostile_data,
    kills,
    ledger_lost,
    lost_messages,
    outages,
    partition,
    power,
    system_calls,
    upgrade,
)
from chaos.figures import Row, Verdict
from dicomrelay.errors import ExitCode

_FAMILIES: Final = (
    answers,
    black_hole,
    content,
    crowd,
    full_disk,
    hostile,
    hostile_data,
    kills,
    ledger_lost,
    lost_messages,
    outages,
    partition,
    power,
    system_calls,
    upgrade,
)
FAULTS: Final[tuple[Fault, ...]] = tuple(
    sorted(
        (each for family in _FAMILIES for each in family.FAULTS), key=lambda each: figures.order(each.name)
    )
)


def do(fault: Fault, run: Run) -> Row:
    """One fault with all its trials; a row also when it fails in a way that nobody thought of."""
    row = Row(fault.name, fault.title, run.trials, fault.unit, run.seed, date=f"{datetime.now(UTC):%Y-%m-%d}")
    row = replace(row, revision=_revision())
    if missing := fault.missing():
        return replace(row, trials=0, skipped=missing)
    began = time.monotonic()
    try:
        came = fault.run(run)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the others are to be done all the same
        traceback.print_exc()
        return replace(
            row,
            control_found=False,
            note=f"not done to the end: {type(error).__name__}: {_without_paths(str(error), run.folder)}",
            seconds=time.monotonic() - began,
        )
    return replace(
        row,
        trials=came.trials or run.trials,
        account=came.account,
        figures=came.figures,
        control=came.control,
        control_found=came.control_found,
        note=came.note,
        seconds=round(time.monotonic() - began, 1),
    )


def said(row: Row) -> str:
    """A row for the terminal."""
    lines = [
        f"{row.fault:<13} {row.verdict:<7} {row.title}: {row.trials} {row.unit}, {row.seconds:.0f} s, seed {row.seed}"
    ]
    if row.skipped:
        return f"{lines[0]}\n    {row.skipped}"
    if row.account is not None:
        lines.append(f"    {row.account}")
    if row.bound is not None:
        lines.append(
            f"    no loss in {row.trials} trials: the chance in one is under 3/N = {row.bound:.2g} (95 %)"
        )
    lines += [f"    {figure}" for figure in row.figures]
    lines += [f"    {text}" for text in (row.control and f"control: {row.control}", row.note) if text]
    return "\n".join(lines)


def _without_paths(text: str, folder: Path) -> str:
    """The beginning of it, for a page that others read; the whole stands in the terminal."""
    return " ".join(text.replace(str(folder), "…").split())[:300]


def _revision() -> str:
    ended = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return ended.stdout.strip()


def _chosen(only: str) -> list[Fault]:
    if not only:
        return list(FAULTS)
    wanted = [name.strip() for name in only.split(",")]
    chosen = [each for each in FAULTS if each.name in wanted]
    if unknown := set(wanted) - {each.name for each in chosen}:
        raise SystemExit(
            f"there is no {', '.join(sorted(unknown))}; known: {', '.join(f.name for f in FAULTS)}"
        )
    return chosen


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.scorecard", description=__doc__)
    parser.add_argument("--only", default="", help="faults, as R3,R6 (default: all)")
    parser.add_argument("--trials", type=int, default=0, help="of each (default: each has its own number)")
    parser.add_argument(
        "--outage", type=float, default=60.0, help="seconds that an outage lasts (default 60)"
    )
    parser.add_argument("--seed", type=int, default=None, help="for the same experiment again")
    parser.add_argument(
        "--json", type=Path, default=None, help="keep the rows there, beside those of other faults"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the rows in docs/reference and write the page"
    )
    parser.add_argument("--home", type=Path, default=None, help="an empty folder on the disk to be tried")
    parser.add_argument("--list", action="store_true", help="what there is")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    options = _options(arguments)
    if options.list:
        for each in FAULTS:
            print(f"{each.name:<13} {each.trials:>4} {each.unit:<12} {each.title} {each.missing()}")
        return ExitCode.OK
    seed = random.SystemRandom().randrange(1 << 16) if options.seed is None else options.seed
    home = options.home or Path(tempfile.mkdtemp(prefix="chaos-", dir="."))
    print(f"seed {seed}, home {home}", flush=True)
    rows: list[Row] = []
    for fault in _chosen(options.only):
        folder = (home / fault.name).absolute()
        folder.mkdir(parents=True)
        say = lambda line, name=fault.name: print(f"{name}: {line}", flush=True)  # noqa: E731
        run = Run(options.trials or fault.trials, seed, folder, options.outage, say)
        rows.append(do(fault, run))
        print(said(rows[-1]), flush=True)
        for path in {options.json, report.FIGURES if options.write else None} - {None}:
            figures.write(path, {**figures.read(path), rows[-1].fault: rows[-1]})
        if rows[-1].verdict is not Verdict.MISSED:
            shutil.rmtree(folder, ignore_errors=True)
    if options.write:
        report.write()
    missed = [row.fault for row in rows if row.verdict is Verdict.MISSED]
    if missed:
        print(f"missed: {', '.join(missed)}; look into {home}", file=sys.stderr)
        return ExitCode.INTEGRITY
    if options.home is None:
        shutil.rmtree(home, ignore_errors=True)
    return ExitCode.OK


if __name__ == "__main__":
    raise SystemExit(main())
