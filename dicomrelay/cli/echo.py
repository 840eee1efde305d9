"""`dicomrelay echo`."""

from __future__ import annotations

import time

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.dicom.status import status_name
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.errors import ExitCode
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.routing.destinations import resolve


@relay_command(
    about="Ask a peer for a C-ECHO: is it there, does it know us?",
    examples="dicomrelay echo pacs\ndicomrelay echo PACS@10.0.0.9:104",
)
@click.argument("destination")
@click.option("-c", "--calling-ae", help="What we call ourselves.  [default: gateway.ae_title]")
def command(invocation: Invocation, destination: str, calling_ae: str | None) -> int:
    settings = invocation.settings
    target = resolve(destination, settings.destinations)
    remote = RemoteAe(target.ae_title, target.host, target.port)
    calling = calling_ae or target.calling_ae_title or settings.gateway.ae_title
    started = time.monotonic()
    with Association.request(
        remote, calling_ae_title=calling, contexts=[(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]
    ) as association:
        status = association.echo()
    took_ms = (time.monotonic() - started) * 1000
    where = f"{remote.ae_title}@{remote.host}:{remote.port}"
    invocation.say(f"{where}: {status_name(status)} ({took_ms:.0f} ms)")
    if invocation.as_json:
        invocation.emit({"destination": where, "status": status, "milliseconds": round(took_ms, 1)})
    return ExitCode.OK if status == 0 else ExitCode.SOME_FAILED
