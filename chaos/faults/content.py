"""What is in the instances: R26 the same again and others under the same UID, R29 damage at rest, R33 who the patient is."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Final

from chaos.campaign import Campaign, archived, campaign
from chaos.destination_process import DestinationProcess
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.instances import Instance, make_instances
from chaos.senders import Tally, send_study

_AT_ONCE: Final = 8
_STUDY: Final = 20
_CANARY: Final = "KANARIENVOGEL"


def _made(folder: Path, seed: int, count: int, **more: object) -> list[Instance]:
    folder.mkdir(parents=True)
    return list(islice(make_instances(folder, seed, per_study=_STUDY, **more), count))  # type: ignore[arg-type]


def duplicates(run: Run) -> Outcome:
    """R26: each instance over eight associations at once, and then another data set under each UID."""
    count = max(1, run.trials // _AT_ONCE)
    same = _made(run.folder / "same", run.seed, count)
    other = _made(run.folder / "other", run.seed, count, size=3_000)
    tallies = [Tally() for _ in range(_AT_ONCE)]
    conflicting = Tally()
    with campaign(run.folder, run.seed, senders=0, storescu=False) as running:
        crowd = [
            threading.Thread(target=send_study, args=(running.relay.remote, same, tally)) for tally in tallies
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        running.tallies.append(tallies[0])
        running.catch_up(within_s=60)
        send_study(running.relay.remote, other, conflicting)
        running.relay.wait_for(
            lambda: running.relay.status()["spool"]["aside"] >= count,
            within_s=30,
            what=f"{count} are set aside",
        )
        kinds = Counter(row["kind"] for row in running.relay.status()["needs_attention"])
        in_archive = Counter(copy.sop_instance_uid for copy in archived(running.relay.home))
        arrived = {each.name: len(running.arrivals(each.name)) for each in running.destinations}
    acknowledged = sum(len(tally.acknowledged) for tally in tallies)
    return Outcome(
        figures=(
            Figure("of the same, not answered Success", count * _AT_ONCE - acknowledged, bar=0),
            Figure(
                "arrivals at a destination for an instance, the most", max(arrived.values()) / count, bar=1
            ),
            Figure("copies in the archive, the most", max(in_archive.values()), bar=1),
            Figure("in the archive", len(in_archive) / count, bar=1, at_least=True),
            Figure("conflicts answered Success", len(conflicting.acknowledged) / count, bar=1, at_least=True),
            Figure("conflicts kept aside and listed", kinds["conflict"] / count, bar=1, at_least=True),
        ),
        trials=count * _AT_ONCE,
        note=f"{count} instances over {_AT_ONCE} associations at once",
    )


def damaged(run: Run) -> Outcome:
    """R29: a bit, the end, all of it, or the names of two, while nobody looks; then the destinations come back."""
    known = [DestinationProcess("north", run.folder)]
    instances = _made(run.folder / "files", run.seed, run.trials * 2)
    tally = Tally()
    no_archive = "[archive]\nenabled = false\n"
    with campaign(
        run.folder, run.seed, destinations=known, senders=0, storescu=False, toml=no_archive
    ) as running:
        known[0].stop()
        send_study(running.relay.remote, instances, tally)
        spool = running.relay.home / "spool"
        running.relay.wait_for(
            lambda: running.relay.status()["spool"]["new"] == 0, within_s=60, what="all is registered"
        )
        running.relay.stop()
        hurt = _hurt(run, sorted((spool / "kept").rglob("*.dcm")))
        known[0].start()
        running.relay.start()
        whole = len(tally.acknowledged) - hurt

        def is_over() -> bool:
            status = running.relay.status()
            said = {row["sop_instance_uid"] for row in status["needs_attention"]}
            return len(running.arrivals("north")) >= whole and len(said) >= hurt

        try:
            running.relay.wait_for(is_over, within_s=90, what=f"{hurt} are listed, {whole} arrive")
        except TimeoutError as error:
            run.say(str(error)[:200])
        listed = {row["sop_instance_uid"] for row in running.relay.status()["needs_attention"]}
        arrived = [each.copy for each in running.arrivals("north")]
    changed = sum(tally.offered.get(copy.sop_instance_uid) != copy.digest for copy in arrived)
    missing = set(tally.acknowledged) - {copy.sop_instance_uid for copy in arrived}
    return Outcome(
        figures=(
            Figure("sent with other bytes", changed, bar=0),
            Figure("found out, of those damaged", len(missing) / hurt, bar=1, at_least=True),
            Figure("neither arrived nor listed", len(missing - listed), bar=0),
            Figure("whole, and not arrived", len(missing) - hurt, bar=0),
        ),
        trials=hurt,
        note="a flipped bit, a cut end, zeros all over, two names exchanged, in turn; the archive is off",
    )


def _hurt(run: Run, files: list[Path]) -> int:
    """Damage `run.trials` of them, one way after the other; how many are not what they were."""
    chance = run.chance
    chosen = chance.sample(files, min(run.trials, len(files)))
    hurt, number = 0, 0
    while chosen:
        path = chosen.pop()
        way = number % 4
        number += 1
        if way == 3 and chosen:
            other, aside = chosen.pop(), path.with_suffix(".aside")
            path.rename(aside)
            other.rename(path)
            aside.rename(other)
            hurt += 2
            continue
        size = path.stat().st_size
        with path.open("r+b") as file:
            if way == 0:
                file.seek(chance.randrange(4096, size))
                byte = file.read(1)[0] ^ (1 << chance.randrange(8))
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte]))
            elif way == 1:
                file.truncate(chance.randrange(size))
            else:
                file.write(bytes(size))
        hurt += 1
    return hurt


def canary(run: Run) -> Outcome:
    """R33: a patient by an unmistakable name goes all ways there are; the name must be in none of these places."""
    hits: list[str] = []
    looked = 0
    for number in range(run.trials):
        folder = run.folder / f"{number}"
        folder.mkdir(parents=True)
        with campaign(folder, run.seed, senders=0, storescu=False, monitor=True) as running:
            instances = _made(folder / "files", run.seed, _STUDY, patient=_CANARY)
            tally = Tally()
            running.tallies.append(tally)
            send_study(running.relay.remote, instances, tally)
            running.relay.command("send", str(folder / "files"), "--to", "north")
            running.destinations[0].stop()
            running.relay.command("send", str(folder / "files"), "--to", "north", "--no-wait")
            _searched(running)
            time.sleep(3)
            places = [*_files(running), *_pages(running)]
        looked += len(places)
        hits += [name for name, content in places if _CANARY.encode() in content.upper()]
    return Outcome(
        figures=(
            Figure("places that hold the patient's name, id, study or accession number", len(hits), bar=0),
            Figure("places looked at", looked, bar=10, at_least=True),
        ),
        control=f"the spool or archive of the same home holds it: {'yes' if _control(run) else 'no'}",
        control_found=_control(run),
        note="; ".join(hits)
        or "logs, the broker's file with all task arguments, run/, the audit's trail, what up said, Flower's pages and metrics",
    )


def _searched(running: Campaign) -> None:
    """The name is looked for, and given as who asks: neither is for logs or the audit."""
    streamer = f"http://127.0.0.1:{running.relay.settings.streamer.port}"
    for path in (f"/studies?PatientName={_CANARY}*", f"/studies/{_CANARY}", f"/worklist?PatientID={_CANARY}"):
        with contextlib.suppress(OSError), urllib.request.urlopen(streamer + path, timeout=10) as answer:
            answer.read()


def _control(run: Run) -> bool:
    """The name was on its way at all."""
    return any(
        _CANARY.encode() in path.read_bytes()
        for folder in ("spool", "archive")
        for path in (run.folder / "0" / "relay" / folder).rglob("*.dcm")
    )


def _files(running: Campaign) -> list[tuple[str, bytes]]:
    home = running.relay.home
    found = [("up", running.relay.log.encode())]
    for name in ("logs", "redis", "run", "audit"):
        found += [
            (str(path.relative_to(home)), path.read_bytes())
            for path in (home / name).rglob("*")
            if path.is_file()
        ]
    return found


def _pages(running: Campaign) -> list[tuple[str, bytes]]:
    found = []
    settings = running.relay.settings
    for port, paths in (
        (
            settings.monitor.port,
            (
                *("/", "/tasks", "/workers", "/broker", "/metrics", "/api/tasks", "/healthcheck"),
                *("/transfers", "/transfers?span=day", "/studies", "/studies?state=done", "/attention"),
            ),
        ),
        (settings.streamer.port, ("/metrics", "/health")),
    ):
        for path in paths:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                    found.append((path, answer.read()))
            except urllib.error.HTTPError as error:
                found.append((path, error.read()))
            except OSError:
                continue
    return found


FAULTS: Final = (
    Fault("R26", "the same over eight associations at once, then other bytes under the UIDs", "instances", 800, duplicates),
    Fault("R29", "spool items are damaged at rest", "items", 100, damaged),
    Fault("R33", "a patient by an unmistakable name", "runs", 1, canary),
)  # fmt: skip
