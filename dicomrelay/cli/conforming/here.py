"""Tables of what the settings say: services, limits, listeners, who may call, where it goes. Never a secret."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.conforming.cells import switched, table
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.dimse.identifier_bounds import MAX_ELEMENTS
from dicomrelay.settings import DestinationSettings, HttpTlsSettings, Settings
from dicomrelay.settings.dicomweb import DestinationProtocol
from scp_gateway.preferences import transfer_syntax_uids

_LIMITS: Final = (
    ("associations accepted at once, in a process", "", "gateway.max_associations"),
    ("of these kept for peers whose address `[[peers]]` names", "", "gateway.reserved_associations"),
    ("from one address", "", "gateway.max_associations_per_peer"),
    ("time for the A-ASSOCIATE-RQ (ARTIM)", "s", "gateway.association_timeout_s"),
    ("time for a PDU to be whole", "s", "gateway.pdu_timeout_s"),
    ("silence between messages", "s", "gateway.idle_timeout_s"),
    ("operations that a peer may have outstanding", "", "gateway.max_outstanding"),
)


def number(value: float) -> str:
    """With commas, and without what says nothing."""
    return f"{value:,.10g}"


def dimse_services(settings: Settings) -> str:
    """Section 1.2; with what is switched off here."""
    archive = settings.archive.enabled
    here = {
        "archive": "yes" if archive else "no: `archive.enabled`",
        "worklist": "yes" if settings.worklist.enabled else "no: `worklist.enabled`",
        "mpps": "yes"
        if settings.performed_procedure_steps.enabled
        else "no: `performed_procedure_steps.enabled`",
    }
    commitment = any(each.verification.value == "commitment" for each in settings.destinations)
    rows = [
        ["1.2.1 Verification", "yes", "yes", "`dicomrelay echo`; gateway, `dicomrelay receive`"],
        ["1.2.2 Storage, all SOP classes of Annex A.A.1", "yes", "yes",
         "workers, `dicomrelay send`; gateway, `dicomrelay receive`"],
        ["1.2.2 Storage, as sub-operations of C-MOVE and C-GET", "yes", "yes (C-GET)", "gateway; `dicomrelay get`"],
        ["1.2.2 Storage Commitment, push model", "yes" if commitment else "yes, no destination is asked here",
         here["archive"], "workers ask, workers and gateway take reports; gateway is asked, gateway and scheduler report"],
        ["1.2.3 Modality Worklist: FIND", "yes", here["worklist"], "`dicomrelay find`; gateway"],
        ["1.2.3 Modality Performed Procedure Step, and its retrieval (N-GET)",
         "yes" if settings.performed_procedure_steps.destinations else "yes, to nobody here", here["mpps"],
         "scheduler forwards N-CREATE and N-SET; gateway"],
        ["1.2.3 Unified Procedure Step, Instance Availability Notification", "no", "no", "–"],
        ["1.2.4 Query/Retrieve, patient root, study root, patient/study only (retired): FIND, MOVE, GET", "yes",
         here["archive"], "`dicomrelay find`, `move`, `get`; gateway"],
        ["1.2.5 Print Management", "no", "no", "–"],
    ]  # fmt: skip
    return table(["service", "SCU", "SCP", "by"], rows)


def web_services(settings: Settings) -> str:
    """Section 1.3."""
    web = any(each.kind is DestinationProtocol.DICOMWEB for each in settings.destinations)
    stow = "yes" if settings.streamer.stow.enabled else "no: `streamer.stow.enabled`"
    rows = [
        ["1.3.1 URI (WADO-URI)", "no", "yes", "streamer"],
        ["1.3.2 Studies: retrieve (WADO-RS)", "no", "yes", "streamer"],
        ["1.3.2 Studies: search (QIDO-RS)", "no", "yes", "streamer"],
        ["1.3.2 Studies: store (STOW-RS)", "yes" if web else "yes, to nobody here", stow,
         "workers, `send`; streamer; [what a store request may be](../design/stow.md)"],
        ["1.3.3 Worklist (UPS-RS)", "no", "no", "–"],
        ["1.3.4 Non-patient instances", "no", "no", "–"],
        ["1.3.5 Storage Commitment", "no", "no", "–"],
        ["1.3.6, 1.3.7 Modality Scheduled and Performed Procedure Step", "no", "no", "–"],
    ]  # fmt: skip
    return table(["web service", "user agent", "origin server", "by"], rows)


def limits(settings: Settings) -> str:
    """Bounds of associations, with the setting of each."""
    gateway = settings.gateway
    rows = []
    for words, unit, setting in _LIMITS:
        name = setting.removeprefix("gateway.")
        value = gateway.reserved_room if name == "reserved_associations" else getattr(gateway, name)
        rows.append([words, f"{number(value)} {unit}".strip(), f"`{setting}`"])
    default = DestinationSettings.model_fields["associations"].default
    rows.append(["associations to one destination", number(default), "`destinations.associations`"])
    return table(["limit", "here", "setting"], rows)


def query_bounds(settings: Settings) -> str:
    """Bounds of queries."""
    query = settings.query
    rows = [
        ["answers to one query", number(query.max_answers), "`query.max_answers`"],
        ["stored instances that one query looks into", number(query.max_files), "`query.max_files`"],
        ["time for one query", f"{number(query.timeout_s)} s", "`query.timeout_s`"],
        ["elements and items of an identifier, of a retrieve too", number(MAX_ELEMENTS), "fixed"],
    ]
    return table(["bound", "here", "by"], rows)


def listeners(settings: Settings) -> str:
    """TCP ports that are listened on."""
    gateway, streamer, monitor, metrics = (
        settings.gateway,
        settings.streamer,
        settings.monitor,
        settings.metrics,
    )
    tls = "plain"
    if gateway.tls is not None:
        tls = f"TLS {gateway.tls.minimum} or newer" + (", and plain" if gateway.tls.allow_plain else "")
        if gateway.tls.ca is not None and gateway.tls.require_client_certificate:
            tls += ", clients show certificates"
    asks = streamer.access is not None or bool(settings.users)
    rows = [
        ["DICOM", gateway.host, str(gateway.port), tls],
        [
            "DICOMweb and viewer",
            streamer.host,
            str(streamer.port),
            f"{_http(streamer.tls)}; who calls is asked: {switched(asks)}",
        ],
    ]
    if monitor.enabled:
        rows.append(["Flower", monitor.host, str(monitor.port), _http(monitor.tls)])
    if metrics.enabled and metrics.port:
        rows.append(["metrics and health", metrics.host, str(metrics.port), _http(metrics.tls)])
    return table(["listener", "address", "TCP port", "how"], rows)


def _http(tls: HttpTlsSettings | None) -> str:
    return "HTTP" if tls is None else f"HTTP, TLS {tls.minimum} or newer"


def callers(settings: Settings) -> str:
    """[[peers]], or what holds without them."""
    if not settings.peers:
        return (
            "With no `[[peers]]` entry, as here, any AE title may call from loopback and do everything, and nobody from "
            "elsewhere."
        )
    rows = []
    for peer in settings.peers:
        syntaxes = ", ".join(
            transfer_syntax(uid).name for uid in transfer_syntax_uids(peer.transfer_syntaxes or (), "peers")
        )
        rows.append([f"`{peer.ae_title}`", f"`{peer.host}`", ", ".join(peer.rights), syntaxes or "all",
                     switched(peer.tls or peer.certificate is not None)])  # fmt: skip
    return table(
        ["calling AE title", "address", "rights", "transfer syntaxes, in order", "TLS is demanded"], rows
    )


def called(settings: Settings) -> str:
    """[[destinations]]: AE title and presentation address."""
    rows = []
    for each in settings.destinations:
        if each.kind is DestinationProtocol.DICOMWEB:
            where = ["DICOMweb", "–", f"`{each.url}`" if each.url else f"{each.host}:{each.port}"]
        else:
            where = ["DIMSE", f"`{each.ae_title}`", f"{each.host}:{each.port}"]
        rows.append([each.name, *where, switched(each.tls is not None), each.transfer_syntax_policy.value,
                     each.verification.value])  # fmt: skip
    if not rows:
        return "No `[[destinations]]` entry, as here: nothing is forwarded."
    heads = ["destination", "by", "AE title", "address", "TLS", "transfer syntax policy", "verification"]
    return table(heads, rows)
