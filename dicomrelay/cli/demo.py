"""`dicomrelay demo`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import pydicom.data

from dicomrelay.cli import up
from dicomrelay.cli.demo_checks import StudyResult, check, usable
from dicomrelay.cli.demo_receiver import AE_TITLE
from dicomrelay.cli.direct import Order, send_directly
from dicomrelay.cli.files import DicomFile
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.delivery import Target
from dicomrelay.errors import ExitCode, RelayError, ServiceError
from dicomrelay.ledger import Ledger
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime import home, process
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.readiness import ReadinessSocket
from dicomrelay.settings import load

# Real files that come with pydicom: CT, MR, US, RT, SEG, SR, ECG; native, big endian, deflated, JPEG, JPEG 2000, RLE;
# one bit, colour, many frames.
_BY_GATEWAY: Final = (
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "693_J2KI.dcm",
    "examples_ybr_color.dcm",
    "examples_palette.dcm",
    "liver_1frame.dcm",
    "image_dfl.dcm",
    "ExplVR_BigEnd.dcm",
    "waveform_ecg.dcm",
)
_BY_COMMAND_LINE: Final = (
    "rtdose_rle.dcm",
    "examples_rgb_color.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "JPEG-lossy.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "rtstruct.dcm",
    "test-SR.dcm",
)
_DEADLINE_S: Final = 120.0


@relay_command(
    about="Run everything on free ports with a second, independent receiver, send real studies through all of it, "
    "by the gateway and by the command line, and say what arrived where.",
    examples="dicomrelay demo\ndicomrelay demo --stay\ndicomrelay demo --home /tmp/demo",
)
@click.option("--stay", is_flag=True, help="Keep running afterwards, to look at the pages; Ctrl-C ends it.")
def command(invocation: Invocation, *, stay: bool) -> int:
    stop = stop_on_signals()
    named = click.get_current_context().params.get("home")
    with _folder(named) as folder:
        demo = Demo(folder, invocation.say)
        try:
            results = demo.run(stop, stay=stay)
        finally:
            demo.close()
    if demo.interrupted:
        return ExitCode.INTERRUPTED
    complete = bool(results) and all(result.complete for result in results)
    if invocation.as_json:
        invocation.emit({"complete": complete, "studies": [_as_json(result) for result in results]})
    return ExitCode.OK if complete else ExitCode.SOME_FAILED


class Demo:
    """One run of the demo in its own home."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._receiver: subprocess.Popen[bytes] | None = None
        self._receiver_port, gateway, streamer, monitor = free_ports(4)
        self.config = folder / "relay.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"[gateway]\nport = {gateway}\nmin_free_bytes = 0\n\n[study]\nquiet_seconds = 1\n\n"
            f"[streamer]\nport = {streamer}\n\n[monitor]\nport = {monitor}\n\n[worker]\nsweep_seconds = 0.5\n\n"
            f'[[destinations]]\nname = "demo-pacs"\nae_title = "{AE_TITLE}"\nhost = "127.0.0.1"\n'
            f"port = {self._receiver_port}\n",
            "utf-8",
        )
        self.settings = load(config=self.config, home=folder)
        self._received = folder / "received"
        self.interrupted = False

    def run(self, stop: threading.Event, *, stay: bool) -> list[StudyResult]:
        """Start all, send, wait, compare, and print the account."""
        home.prepare(self.settings)
        self._start_receiver()
        results: list[StudyResult] = []
        problems: list[RelayError] = []

        def work() -> None:
            try:
                results.extend(self._send_and_check(stop))
                self.interrupted = stop.is_set()
                self._print(results, stay=stay)
            except RelayError as error:
                problems.append(error)
            finally:
                if not stay or problems:
                    stop.set()

        worker = threading.Thread(target=work, name="demo")
        up.run(self.settings, config=self.config, say=self._say, stop=stop, once_ready=worker.start)
        if worker.ident is None:
            self.interrupted = True
        else:
            worker.join()
        if problems:
            raise problems[0]
        return results

    def close(self) -> None:
        """Stop the receiver."""
        if self._receiver:
            process.stop(self._receiver, grace_s=5)

    def _send_and_check(self, stop: threading.Event) -> list[StudyResult]:
        samples = Path(pydicom.data.__file__).parent / "test_files"
        by_gateway = [usable(samples / name) for name in _BY_GATEWAY]
        by_command_line = [usable(samples / name) for name in _BY_COMMAND_LINE]
        gateway = self.settings.gateway
        self._say(f"sending {len(by_gateway)} instances to the gateway by C-STORE")
        remote = RemoteAe(gateway.ae_title, gateway.host, gateway.port)
        answers, unreachable = send_directly(
            by_gateway,
            Order(Target(RemotePeer(remote, "DEMO_MODALITY")), "gateway", threads=2, retries=0),
            interrupted=stop,
            progress=lambda *_: None,
        )
        if unreachable:
            raise ServiceError(f"the demo's own gateway was not reached: {unreachable}")
        for answer in answers:
            if not answer.delivered:
                self._say(
                    f"  the gateway did not take {answer.sop_instance_uid}: {answer.reason or answer.state}"
                )
        self._say(f"sending {len(by_command_line)} instances with `dicomrelay send`")
        self._send_with_cli(by_command_line)
        return self._await_all([*by_gateway, *by_command_line], stop)

    def _send_with_cli(self, files: list[DicomFile]) -> None:
        argv = [sys.executable, "-m", "dicomrelay", "send", *(str(file.path) for file in files)]
        argv += [
            "--to",
            "demo-pacs",
            "--home",
            str(self.settings.home),
            "--config",
            str(self.config),
            "--json",
        ]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=_DEADLINE_S)
        if ended.returncode != 0:
            self._say(f"  dicomrelay send ended with exit code {ended.returncode}:\n{ended.stderr.strip()}")
            return
        counts: dict[str, Any] = json.loads(ended.stdout)["instances"]
        self._say(f"  {counts['delivered']} delivered, {counts['failed']} failed")

    def _await_all(self, files: list[DicomFile], stop: threading.Event) -> list[StudyResult]:
        """Look until every instance is everywhere, or the deadline is over."""
        ledger = Ledger.open(home.ledger_url(self.settings))
        deadline = time.monotonic() + _DEADLINE_S
        try:
            while True:
                results = check(files, settings=self.settings, ledger=ledger, received=self._received)
                if (
                    all(result.complete for result in results)
                    or time.monotonic() > deadline
                    or stop.wait(0.5)
                ):
                    return results
        finally:
            ledger.dispose()

    def _start_receiver(self) -> None:
        notices = ReadinessSocket("receiver")
        argv = [
            sys.executable,
            "-m",
            "dicomrelay.cli.demo_receiver",
            str(self._receiver_port),
            str(self._received),
        ]
        with self.settings.path("logs", "receiver.log").open("ab") as output:
            self._receiver = process.start(
                argv, output=output, environment={"NOTIFY_SOCKET": notices.address}
            )
        deadline = time.monotonic() + 30
        while not notices.is_ready():
            if self._receiver.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(
                    f"the demo's receiver did not start: see {self.settings.path('logs', 'receiver.log')}"
                )
            time.sleep(0.05)
        notices.close()
        self._say(f"receiver  {AE_TITLE}@127.0.0.1:{self._receiver_port} (pynetdicom)")

    def _print(self, results: list[StudyResult], *, stay: bool) -> None:
        for line in table(results):
            click.echo(line, err=True)
        monitor, streamer = self.settings.monitor, self.settings.streamer
        if stay:
            self._say(f"look at   http://{streamer.host}:{streamer.port}/ (studies)")
            self._say(f"          http://{monitor.host}:{monitor.port}/tasks (Flower); Ctrl-C ends it")
        else:
            self._say(
                "look around: `dicomrelay demo --stay` keeps it running, with its pages of studies and of tasks"
            )


def table(results: list[StudyResult]) -> list[str]:
    """The account, a line a study."""
    heads = ("study", "modality", "sent", "received", "delivered", "archived", "frames", "streamed", "")
    rows = [
        (
            f"…{result.study_instance_uid[-28:]}"
            if len(result.study_instance_uid) > 29
            else result.study_instance_uid,
            result.modalities,
            *(str(n) for n in (result.instances, result.received, result.delivered, result.archived)),
            str(result.frames),
            str(result.streamed),
            "ok" if result.complete else "INCOMPLETE",
        )
        for result in results
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (heads, *rows)
    ]
    complete = sum(result.complete for result in results)
    instances = sum(result.instances for result in results)
    verdict = "every instance reached the destination, the archive and the streamer, byte for byte"
    if complete < len(results):
        verdict = f"{len(results) - complete} studies are INCOMPLETE"
    return [*(line.rstrip() for line in lines), f"{len(results)} studies, {instances} instances: {verdict}"]


def _as_json(result: StudyResult) -> dict[str, Any]:
    return {**{name: getattr(result, name) for name in StudyResult.__slots__}, "complete": result.complete}


@contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    """The home of the demo: the one that was named, which stays, or one that goes when the demo is over."""
    if named:
        yield named.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="dicomrelay-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
