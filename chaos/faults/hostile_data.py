"""Whoever means harm, by what is sent to a whole relay: R23 mutants, R24 bombs, R25 evil strings."""

from __future__ import annotations

import json
import random
import socket
import time
import uuid
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from chaos.campaign import Campaign, archived, campaign, spooled
from chaos.faults import Fault, Outcome, Run
from chaos.faults.bombs import DEFLATED, made_of_nothing
from chaos.faults.hostile_tools import MEGABYTE, answer, still_works
from chaos.figures import Figure
from chaos.fuzz_mutate import Mutator
from chaos.gateway_process import usage_of
from chaos.instances import CT_IMAGE_STORAGE, Instance, encode_data_set, make_instances
from chaos.relay import processes_of
from chaos.senders import Tally, send_study
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.errors import RelayError
from dicomrelay.net.requestor import Association, StoreItem

_BOUNDARY: Final = "hostile"
# Of the reference: each is taken or refused within two seconds.
_LONGEST_S: Final = 2.0
_ECHO: Final = [("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))]
_EVIL: Final = (
    "../../../../tmp/hostile", "/tmp/hostile", "..", ".", "$(touch /tmp/hostile)", "`touch /tmp/hostile`",
    "; touch /tmp/hostile", "' OR 1=1 --", "'; DROP TABLE studies; --", "<script>alert(1)</script>", "{{7*7}}", "%00/../x",
    "C:\\hostile", "\\\\host\\share", "-rf", "a\nb", "\x1b[31m", "NUL", ".hidden", "x" * 200,
)  # fmt: skip


def _store_web(running: Campaign, file: bytes) -> int:
    """STOW-RS with one file."""
    kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = head + file + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return answer(running.relay.settings.streamer.port, "POST", "/studies", body, Content_Type=kind)


def _part10(uid: str, data_set: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    meta = FileMeta(sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid=uid, transfer_syntax_uid=syntax)
    return encode_file_meta(meta) + data_set


def _memory(running: Campaign) -> int:
    """The most that one process of the relay has held, in bytes."""
    peaks = []
    for process in processes_of(running.relay.home):
        with suppress(OSError, KeyError, ValueError):
            peaks.append(usage_of(process.pid).peak_rss_bytes)
    return max(peaks, default=0)


def mutants(run: Run) -> Outcome:
    """R23: changed data sets by C-STORE, STOW and `send`; then everything that serves looks at what was taken."""
    chance = random.Random(run.seed)
    with campaign(run.folder, run.seed, senders=0, storescu=False) as running:
        folder, by_command = run.folder / "mutants", run.folder / "by-command"
        folder.mkdir()
        by_command.mkdir()
        samples = [
            encode_data_set(f"1.2.826.1.{number}", "1.2.826.2", chance.randbytes(2000))
            for number in range(20)
        ]
        mutator = Mutator(chance, samples)
        workers = {each.pid for each in processes_of(running.relay.home)}
        tally, statuses, ways = Tally(), Counter[int](), Counter[int]()
        for number, made in enumerate(
            islice(make_instances(folder, run.seed, per_study=20, size=2_000), run.trials)
        ):
            path, item = made.item.path, made.item
            whole = path.read_bytes()
            data_set = mutator.mutate(whole[item.data_set_offset :])
            data_set += bytes(len(data_set) & 1)  # an odd one is refused by our own sender
            path.write_bytes(whole[: item.data_set_offset] + data_set)
            ways[number % 3] += 1
            if number % 3 == 2:
                # From the first byte on: the command is given files, and a gateway data sets.
                whole = mutator.mutate(path.read_bytes()) if number % 2 else path.read_bytes()
                (by_command / f"{number}.dcm").write_bytes(whole)
            elif number % 3:
                statuses[_store_web(running, path.read_bytes())] += 1
            else:
                send_study(
                    running.relay.remote, [Instance(replace(item, data_set_bytes=len(data_set)), "")], tally
                )
        told, unsaid = _by_command(running, by_command)
        unanswered = statuses[0] + sum(count for status, count in statuses.items() if status >= 500)
        held = len(spooled(running.relay.home)[0])
        time.sleep(3)
        served = _look_at_all(running)
        died = workers - {each.pid for each in processes_of(running.relay.home)}
        still = still_works(running, run, "afterwards")
        answered = len(tally.acknowledged) + tally.refused + tally.broken_associations
        running.destinations[0].read()
    return Outcome(
        figures=(
            Figure(
                "by C-STORE and neither stored, refused nor ended",
                ways[0] - answered,
                bar=0,
            ),
            Figure("by `send` and neither submitted, passed over nor named as unusable", unsaid, bar=0),
            Figure("by STOW-RS and answered with a fault of ours", unanswered, bar=0),
            Figure("stored", len(tally.acknowledged) + statuses[200]),
            Figure("in the spool", held),
            Figure("answers of the streamer about them that are faults of ours", served, bar=0),
            Figure("processes that died", len(died), bar=0),
            Figure("ordinary instances that did not arrive afterwards", still, bar=0),
        ),
        note=f"C-STORE {dict(tally.statuses)}, STOW-RS {dict(statuses)}, `send` {told}",
    )


def _by_command(running: Campaign, folder: Path) -> tuple[dict[str, int], int]:
    """What `dicomrelay send` says of a folder, and of how many files it says nothing, or not in its words."""
    count = sum(1 for _ in folder.iterdir())
    ended = running.relay.command("send", str(folder), "--recursive", "--no-wait", "--json", timeout_s=300)
    try:
        account = json.loads(ended.stdout)
        told = {
            "submitted": int(account["instances"]["submitted"]),
            "passed over": int(account["files"]["skipped"]),
            "unusable": len(account["files"]["unusable"]),
        }
    except (ValueError, KeyError, TypeError):
        return {"exit code": ended.returncode}, count
    if "Traceback" in ended.stderr or ended.returncode not in {0, 1}:
        return told, count
    return told, abs(count - sum(told.values()))


def _look_at_all(running: Campaign) -> int:
    """Metadata, first frame and picture of each archived instance: how many answers are 500 or none at all."""
    port = running.relay.settings.streamer.port
    faults = 0
    for study in {copy.parents[1].name for copy in (running.relay.home / "archive" / "data").rglob("*.dcm")}:
        faults += answer(port, "GET", f"/studies/{study}/metadata") in {0, 500}
    for path in sorted((running.relay.home / "archive" / "data").rglob("*.dcm"))[:300]:
        where = f"/studies/{path.parents[1].name}/series/{path.parent.name}/instances/{path.stem}"
        for what in ("/frames/1", "/rendered", ""):
            faults += answer(port, "GET", where + what) in {0, 500}
    return faults


def bombs(run: Run) -> Outcome:
    """R24: small on the wire and endless inside, by STOW-RS and C-STORE, looked at in every way; bodies that claim too much."""
    slowest, faults, sent = 0.0, 0, 0
    with campaign(run.folder, run.seed, senders=0, storescu=False) as running:
        port = running.relay.settings.streamer.port
        still_works(running, run, "before")
        before = _memory(running)
        for _ in range(run.trials):
            for name, (uid, syntax, data_set) in made_of_nothing().items():
                began = time.monotonic()
                status = _store_web(running, _part10(uid, data_set, syntax))
                slowest = max(slowest, time.monotonic() - began)
                run.say(f"{name}: {status} in {time.monotonic() - began:.1f} s, {_memory(running) >> 20} MB")
                faults += status in {0, 500}
                began = time.monotonic()
                faults += not _store_dimse(running, run.folder / "bomb.dcm", syntax, data_set, uid)
                slowest = max(slowest, time.monotonic() - began)
                sent += 2
            claims = _claiming(port)
            packed = answer(
                port,
                "POST",
                "/studies",
                zlib.compress(bytes(MEGABYTE * 64)),
                Content_Type="application/dicom",
                Content_Encoding="gzip",
            )
            run.say(f"4 GB announced: {claims}, gzip: {packed}")
            faults += claims not in range(400, 500) or packed not in range(400, 500)
        time.sleep(4)
        faults += _look_at_all(running)
        grown = _memory(running) - before
        still = still_works(running, run, "after")
    return Outcome(
        figures=(
            Figure("answers that are faults of ours, or none", faults, bar=0),
            Figure("the slowest to be taken or refused", slowest, "s", bar=_LONGEST_S),
            Figure("memory of a process beyond the most before", grown / MEGABYTE, "MB", bar=512),
            Figure("ordinary instances that did not arrive afterwards", still, bar=0),
        ),
        trials=sent,
        note="a gigabyte deflated, sequences 100,000 deep, 2**31 - 1 frames, a JPEG of 65,535 squared, 500,000 fragments",
    )


def _store_dimse(running: Campaign, path: Path, syntax: str, data_set: bytes, before: str) -> bool:
    """By C-STORE, under another UID of the same length: whether it was answered."""
    uid = f"{before[:-1]}{(int(before[-1]) + 1) % 10}"
    named = data_set if syntax == DEFLATED else data_set.replace(before.encode(), uid.encode())
    path.write_bytes(named)
    item = StoreItem(CT_IMAGE_STORAGE, before if syntax == DEFLATED else uid, syntax, path, 0, len(named))
    tally = Tally()
    send_study(running.relay.remote, [Instance(item, "")], tally)
    return len(tally.acknowledged) + tally.refused == 1


def _claiming(port: int) -> int:
    """What a body of 4 GB that never comes is answered."""
    # The streamer itself waits for a minute.
    with socket.create_connection(("127.0.0.1", port), timeout=90) as sock:
        sock.sendall(
            b"POST /studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom+json\r\n"
            b"Content-Length: 4294967296\r\n\r\n"
        )
        try:
            words = sock.recv(4096).split()
        except OSError:
            return 0
    return int(words[1]) if len(words) > 1 else 0


def evil_strings(run: Run) -> Outcome:
    """R25: as AE title, patient and UID, through C-STORE, STOW, HTTP paths, worklist, all the way to the archive."""
    Path("/tmp/hostile").unlink(missing_ok=True)
    outside_before = set(run.folder.parent.iterdir())
    with campaign(run.folder, run.seed, senders=0, storescu=False) as running:
        port, home = running.relay.settings.streamer.port, running.relay.home
        known = {path.name for path in run.folder.iterdir()}
        sent = faults = 0
        for number, text in enumerate(_EVIL * max(1, run.trials // len(_EVIL))):
            uid = f"2.25.{uuid.uuid4().int}"
            data_set = encode_data_set(uid, f"1.2.826.{number}", bytes(200), patient=text)
            evil_uid = encode_data_set(text[:64], text[:64], bytes(200), patient=text)
            for body in (_part10(uid, data_set), _part10(uid, evil_uid)):
                faults += _store_web(running, body) in {0, 500}
            quoted = "".join(f"%{byte:02x}" for byte in text.encode())
            for path in (
                f"/studies/{quoted}",
                f"/studies?PatientID={quoted}",
                f"/worklist?PatientName={quoted}",
                f"/{quoted}",
            ):
                faults += answer(port, "GET", path) in {0, 500}
            item = json.dumps([{"PatientID": text, "PatientName": text, "Modality": "CT"}]).encode()
            faults += answer(port, "POST", "/worklist", item, Content_Type="application/json") in {0, 500}
            with (
                suppress(RelayError, ValueError),
                Association.request(running.relay.remote, calling_ae_title=text[:16], contexts=_ECHO),
            ):
                pass
            sent += 9
        time.sleep(5)
        names = {path.name for path in home.rglob("*")}
        odd = [
            name
            for name in names
            if not name.isascii() or set(name) & set("\\/:*?\"<>|;$`'\n\x1b ") or name in {"", ".", ".."}
        ]
        run.say(f"names that are not ours: {odd[:5]}")
        still = still_works(running, run, "afterwards")
        outside = {path.name for path in run.folder.iterdir()} - known - {"afterwards"}
        in_archive = len(archived(home))
    strays = (set(run.folder.parent.iterdir()) - outside_before) | (
        {Path("/tmp/hostile")} if Path("/tmp/hostile").exists() else set()
    )
    return Outcome(
        figures=(
            Figure("files outside the home, and commands that ran", len(outside) + len(strays), bar=0),
            Figure("names on disk that a peer made up", len(odd), bar=0),
            Figure("answers that are faults of ours, or none", faults, bar=0),
            Figure("instances in the archive", in_archive, bar=1, at_least=True),
            Figure("ordinary instances that did not arrive afterwards", still, bar=0),
        ),
        trials=sent,
        note=f"{len(_EVIL)} strings as patient, UID, address, parameter, order and AE title",
    )


FAULTS: Final = (
    Fault("R23", "mutated instances by C-STORE, STOW-RS and `send`", "instances", 1000, mutants),
    Fault("R24", "bombs by STOW-RS and C-STORE, and bodies that claim too much", "rounds", 2, bombs),
    Fault("R25", "strings that climb and inject", "strings", 200, evil_strings),
)
