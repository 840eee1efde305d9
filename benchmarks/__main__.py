"""The figures of docs/reference/performance.md, from this machine, now.

Exit code 0 when every bar was held, 1 when the run failed, 2 for wrong usage, and 10 and up when a bar was missed: 10 for
the first question, 11 for the second and so on (docs/design/benchmarks.md).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.data_sets import LOADS
from benchmarks.figures import Report, Section, Verdict
from benchmarks.folders import folder_in
from benchmarks.machine import describe, memory_directory
from benchmarks.peers import PACKAGES, RunFailed, install, require
from benchmarks.questions import (
    archive,
    associations,
    backlog,
    durable,
    engine,
    first_frame,
    frames,
    headers,
    huge,
    imports,
    memory,
    nagle,
    pipeline,
    retrieve,
    slow_destination,
    streams,
    together,
)
from benchmarks.run import QUICK_EASE, Run
from benchmarks.tables import bar_line, section_table

# In the order of docs/design/benchmarks.md: the exit code counts in it.
QUESTIONS: dict[str, Callable[[Run], Iterator[Section]]] = {
    "engine": engine.measure,
    "durable": durable.measure,
    "nagle": nagle.measure,
    "associations": associations.measure,
    "together": together.measure,
    "memory": memory.measure,
    "huge": huge.measure,
    "headers": headers.measure,
    "pipeline": pipeline.measure,
    "slow-destination": slow_destination.measure,
    "backlog": backlog.measure,
    "archive": archive.measure,
    "import": imports.measure,
    "retrieve": retrieve.measure,
    "frames": frames.measure,
    "first-frame": first_frame.measure,
    "streams": streams.measure,
}
WITH_PEERS = frozenset({"engine", "durable", "nagle", "associations", "pipeline", "retrieve"})
FIRST_MISS = 10
FAILED = 1

_QUICK = {
    "rounds": 1,
    "warm_up": 0,
    "scale": 0.02,
    "huge_bytes": 64_000_000,
    "headers": 2000,
    "open_associations": 20,
    "backlog": 10_000,
    "archive": 5_000,
    "ease": QUICK_EASE,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the JSON."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.questions = options.questions or list(QUESTIONS)
    unknown = set(options.questions) - set(QUESTIONS)
    if unknown:
        parser.error(f"no question {', '.join(sorted(unknown))}: there are {', '.join(QUESTIONS)}")
    run = _run(options)
    try:
        if options.install:
            install()
        if not run.only_ours and WITH_PEERS.intersection(options.questions):
            require(PACKAGES)
    except RunFailed as error:
        print(error, file=sys.stderr)
        return FAILED
    with ExitStack() as stack:
        run = replace(
            run,
            disk=stack.enter_context(folder_in(run.disk)),
            memory=None if run.memory is None else stack.enter_context(folder_in(run.memory)),
        )
        return _measure(run, options)


def _measure(run: Run, options: argparse.Namespace) -> int:
    report = Report(describe(run.disk, run.memory), _asked(options, run))
    print("\n".join(f"{key}: {value}" for key, value in report.machine.items()), end="\n\n")
    failures = []
    for question in options.questions:
        try:
            for section in QUESTIONS[question](run):
                report.sections.append(section)
                print(section_table(section), end="\n\n", flush=True)
        except RunFailed as error:
            failures.append(f"{question}: {error}")
        if options.json is not None:
            report.write(options.json)
    code = _verdict(report)
    for words in failures:
        print(f"failed: {words}", file=sys.stderr)
    return FAILED if failures else code


def exit_code(report: Report) -> int:
    """0, or the number of the first question that missed a bar."""
    missed = {
        list(QUESTIONS).index(section.question)
        for section in report.sections
        for bar in section.bars
        if bar.verdict is Verdict.MISSED
    }
    return FIRST_MISS + min(missed) if missed else 0


def _verdict(report: Report) -> int:
    for section in report.sections:
        for bar in section.bars:
            print(f"{section.question}, {section.load}, {section.place}: {bar_line(bar)}")
    return exit_code(report)


def _run(options: argparse.Namespace) -> Run:
    disk = options.directory or Path(tempfile.gettempdir())
    given = {key: value for key in _QUICK if (value := getattr(options, key, None)) is not None}
    return Run(
        disk=disk,
        memory=None if options.no_memory or options.quick else memory_directory(disk),
        loads=options.loads,
        window=options.window,
        only_ours=options.only_ours,
        **{**(_QUICK if options.quick else {}), **given},
    )


def _asked(options: argparse.Namespace, run: Run) -> dict[str, object]:
    return {
        "questions": list(options.questions),
        "loads": list(run.loads),
        "rounds": run.rounds,
        "scale": run.scale,
        "window": run.window,
        "only_ours": run.only_ours,
        "quick": options.quick,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("questions", nargs="*", metavar="QUESTION", help=f"default: all; {', '.join(QUESTIONS)}")
    add("--loads", nargs="+", choices=LOADS, default=list(LOADS), help="default: all three")
    add("--rounds", type=int, help="rounds that count; default 5")
    add("--scale", type=float, help="part of the instances, 0 to 1; default 1")
    add("--window", type=int, default=8, help="operations our sender asks to have outstanding; default 8")
    add("--huge-bytes", type=int, help="size of the huge instance; default 8000000000")
    add("--headers", type=int, help="files to scan; default 100000")
    add("--open-associations", type=int, help="held open for the memory question; default 200")
    add("--backlog", type=int, help="instances to queue; default 100000")
    add("--archive", type=int, help="instances in the archive's index; default 1000000")
    add("--only-ours", action="store_true", help="without DCMTK, Orthanc and pynetdicom")
    add(
        "--install",
        action="store_true",
        help="install DCMTK and Orthanc with apt first, where they are missing",
    )
    add("--quick", action="store_true", help="few instances, one round, wide bars: is anything broken?")
    add("--ease", type=float, help="what bars are multiplied by; default 1, and 0.02 in a quick run")
    add("--directory", type=Path, help="where to write; default: the system's temporary folder")
    add("--no-memory", action="store_true", help="do not measure in /dev/shm too")
    add("--json", type=Path, help="write everything to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
