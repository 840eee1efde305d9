"""`dicomrelay receive`."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.receiving.account import Account
from dicomrelay.cli.receiving.folder import FileLayout, OutputFolder
from dicomrelay.cli.receiving.service import FolderService
from dicomrelay.cli.session_log import log_to_file
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.cli.summary import new_session_id
from dicomrelay.dicom.transfer_syntaxes import TransferSyntaxCategory, transfer_syntaxes
from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.net.acceptor import Acceptor, listen
from dicomrelay.net.certificates import out_of_date
from dicomrelay.net.tls import door
from dicomrelay.runtime import home
from dicomrelay.runtime.readiness import notify_ready
from dicomrelay.settings import PeerSettings, Settings, is_loopback
from scp_gateway.admission import Peers
from scp_gateway.limits import limits_of, make_room_for_descriptors
from scp_gateway.reception import Reception

_GRACE_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.2
_LOOPBACK: Final = ("127.0.0.0/8", "::1")
# Options that are settings of the gateway by another name.
_SETTINGS: Final = {
    "host": "host",
    "port": "port",
    "ae_title": "ae_title",
    "min_free": "min_free_bytes",
    "idle_timeout": "idle_timeout_s",
}
_TLS: Final = {"tls_certificate": "certificate", "tls_key": "key", "tls_ca": "ca"}


def _overrides(options: Mapping[str, Any]) -> Mapping[str, Any]:
    gateway: dict[str, Any] = {
        setting: options[option] for option, setting in _SETTINGS.items() if options[option] is not None
    }
    if options["max_connections"] is not None:
        gateway["max_associations"] = gateway["max_associations_per_peer"] = options["max_connections"]
        gateway["reserved_associations"] = 0
    for option, setting in (
        ("unknown_sop_classes", "accept_unknown_sop_classes"),
        ("check_called_ae", "check_called_ae_title"),
    ):
        if options[option]:
            gateway[setting] = True
    tls = {setting: str(options[option]) for option, setting in _TLS.items() if options[option]}
    return {"gateway": {**gateway, **({"tls": tls} if tls else {})}} if gateway or tls else {}


@relay_command(
    about="Receive by C-STORE into a folder: Part 10 files of exactly the bytes that came, each durable before its answer. "
    "Ends with Ctrl-C, or as --count and --idle-exit say.",
    examples="dicomrelay receive -o received\n"
    "dicomrelay receive -o received -a ARCHIVE -p 4242 --max-connections 10\n"
    "dicomrelay receive -o received -H 0.0.0.0 --from 10.0.0.0/24 --layout study\n"
    "dicomrelay receive -o received --count 100 --idle-exit 60 --json",
    overrides=_overrides,
    private=False,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("received"),
    show_default=True,
    help="Folder for the files; made if need be.",
)
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: gateway.port]"
)
@click.option("-a", "--ae-title", help="Our AE title.  [default: gateway.ae_title]")
@click.option("-H", "--host", help="Address to listen on.  [default: gateway.host]")
@click.option(
    "--max-connections",
    type=click.IntRange(1, 10_000),
    help="Associations at once; more are told to try later.  [default: gateway.max_associations]",
)
@click.option(
    "--layout",
    type=click.Choice([each.value for each in FileLayout]),
    default=FileLayout.FLAT.value,
    show_default=True,
    help="flat: by SOP instance; study: folders of study and series; patient: of patient, study and series.",
)
@click.option(
    "--flush/--no-flush",
    default=True,
    show_default=True,
    help="Answer when an instance survives a power cut, or when it is written.",
)
@click.option(
    "--from",
    "sources",
    multiple=True,
    help="Address or network that may call, * for any; may be repeated.  [default: [[peers]], else this machine]",
)
@click.option("--check-called-ae", is_flag=True, help="Refuse those who call another AE title than ours.")
@click.option(
    "--transfer-syntax",
    "syntaxes",
    multiple=True,
    help="Accept only this one: UID, name or category; may be repeated, the best first.  [default: all]",
)
@click.option("--unknown-sop-classes", is_flag=True, help="Take private and unknown SOP classes too.")
@click.option(
    "--min-free",
    type=click.IntRange(0),
    help="With less free bytes on the disk answer A700, out of resources.  [default: gateway.min_free_bytes]",
)
@click.option(
    "--idle-timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that an association may be silent.  [default: gateway.idle_timeout_s]",
)
@click.option("--count", type=click.IntRange(1), help="End when so many instances are stored.")
@click.option(
    "--idle-exit",
    type=click.FloatRange(min=0, min_open=True),
    help="End when there was no association for so many seconds.",
)
@click.option(
    "--tls-certificate", type=click.Path(path_type=Path), help="Speak TLS with this certificate (PEM)."
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, if that is in another file.")
@click.option(
    "--tls-ca", type=click.Path(path_type=Path), help="Callers must show a certificate of these authorities."
)
def command(invocation: Invocation, /, **options: Any) -> int:
    settings = invocation.settings
    refuse_own_folders(settings, options["output"])
    home.prepare(settings)
    session_id = new_session_id()
    log_file = log_to_file(settings, f"receive_{session_id}")
    invocation.say(f"session {session_id}, log {log_file}")
    account = Account(session_id, _configuration(settings, options), log_file.with_suffix(".jsonl"))
    peers = Peers(_peers(settings, options["sources"], options["syntaxes"]))
    folder = OutputFolder(
        options["output"],
        layout=FileLayout(options["layout"]),
        flush=options["flush"],
        min_free_bytes=settings.gateway.min_free_bytes,
    )
    service = FolderService(Reception(settings.gateway, peers), peers, folder, account)
    tls = settings.gateway.tls
    stop = stop_on_signals()
    make_room_for_descriptors(settings.gateway)
    listener = listen(settings.gateway.host, settings.gateway.port)
    acceptor = Acceptor(listener, service, limits_of(settings.gateway), door(tls) if tls else None)
    _say_where(invocation, folder, options["sources"])
    get_logger("dicomrelay.receive").info("listening", **account.configuration)
    ending = _serve(acceptor, account, stop, options["count"], options["idle_exit"])
    folder.close()
    path, data = account.finish(ending, settings.path("logs"))
    if invocation.as_json:
        invocation.emit(data)
    for line in (*account.lines(), f"summary {path}"):
        invocation.say(line)
    return account.exit_code


def _configuration(settings: Settings, options: Mapping[str, Any]) -> dict[str, Any]:
    gateway = settings.gateway
    return {
        "output": str(options["output"].absolute()),
        "ae_title": gateway.ae_title,
        "host": gateway.host,
        "port": gateway.port,
        "max_connections": gateway.max_associations,
        "max_connections_per_peer": gateway.max_associations_per_peer,
        "min_free_bytes": gateway.min_free_bytes,
        "max_pdu_bytes": gateway.max_pdu_bytes,
        "asynchronous_operations": gateway.max_outstanding,
        "association_timeout_s": gateway.association_timeout_s,
        "pdu_timeout_s": gateway.pdu_timeout_s,
        "idle_timeout_s": gateway.idle_timeout_s,
        "check_called_ae_title": gateway.check_called_ae_title,
        "accept_unknown_sop_classes": gateway.accept_unknown_sop_classes,
        "peers": len(settings.peers),
        "identity": gateway.identity is not None,
        "tls": gateway.tls is not None,
        "tls_client_certificates": gateway.tls is not None and gateway.tls.ca is not None,
        **{key: options[key] for key in ("layout", "flush", "count", "idle_exit")},
        "from": list(options["sources"]),
        "transfer_syntaxes": list(options["syntaxes"]),
    }


def _peers(settings: Settings, sources: tuple[str, ...], syntaxes: tuple[str, ...]) -> list[PeerSettings]:
    """Who may call: the options, else [[peers]], else this machine."""
    try:
        peers = [PeerSettings(host=source) for source in sources] or list(settings.peers)
    except ValueError as error:
        raise ConfigurationError(
            f"--from {' '.join(sources)}: give addresses, networks such as 10.0.0.0/24, or *"
        ) from error
    if not syntaxes:
        return peers
    uids = [uid for name in syntaxes for uid in _of_category(name)]
    peers = peers or [PeerSettings(host=network) for network in _LOOPBACK]
    return [peer.model_copy(update={"transfer_syntaxes": uids}) for peer in peers]


def _of_category(name: str) -> list[str]:
    if name not in set(TransferSyntaxCategory):
        return [name]
    return [uid for uid, syntax in transfer_syntaxes().items() if syntax.category == name]


def _say_where(invocation: Invocation, folder: OutputFolder, sources: tuple[str, ...]) -> None:
    gateway = invocation.settings.gateway
    tls = ", TLS" if gateway.tls else ""
    invocation.say(f"listening: {gateway.ae_title}@{gateway.host}:{gateway.port}{tls}, into {folder.root}")
    if gateway.tls is not None and (fault := out_of_date(gateway.tls.certificate)):
        invocation.say(f"warning: {fault}: callers that check it will not come in; renew it")
    if not sources and not invocation.settings.peers and not is_loopback(gateway.host):
        invocation.say("nobody but this machine may call: say who with --from, or in [[peers]]")


def _serve(
    acceptor: Acceptor, account: Account, stop: threading.Event, count: int | None, idle_exit: float | None
) -> str:
    """Listen until it is time to end; why it was."""
    serving = threading.Thread(target=acceptor.serve, name="accept", daemon=True)
    serving.start()
    notify_ready()
    ending = "interrupted"
    with Progress("received", count, line_every_s=10) as progress:
        while not stop.wait(_LOOK_EVERY_S):
            note = f"{account.open} associations" if account.open != 1 else "1 association"
            note += f", {account.turned} turned away" if account.turned else ""
            progress.show(account.stored, data_bytes=account.bytes, note=note)
            account.flush()
            if count is not None and account.stored >= count:
                ending = "count"
                break
            idle_s = time.monotonic() - account.touched_at
            if idle_exit is not None and not account.open and idle_s >= idle_exit:
                ending = "idle"
                break
        acceptor.stop(_GRACE_S)
        serving.join()
        progress.show(account.stored, data_bytes=account.bytes)
    return ending
