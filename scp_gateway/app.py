"""The composition root of the gateway: settings in, a listener out. The caller owns signals, log and broker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from dicomrelay.audit import Audit
from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.log import get_logger
from dicomrelay.net.acceptor import Acceptor, listen
from dicomrelay.net.tls import acceptor_context, door
from dicomrelay.runtime.children import run_processes
from dicomrelay.settings import Settings, is_loopback
from dicomrelay.spool import Spool
from dicomrelay.spool.reports import ReportBox
from scp_gateway import reception
from scp_gateway.admission import Peers
from scp_gateway.archive_port import ArchivePort, Came, open_archive
from scp_gateway.audited import Witness
from scp_gateway.commitment import Commitments, nothing_came
from scp_gateway.limits import limits_of, make_room_for_descriptors
from scp_gateway.notifier import Notifier
from scp_gateway.operations import Operations
from scp_gateway.performed import PerformedService, StepBounds
from scp_gateway.query.find import FindService
from scp_gateway.reports import ReportPort, Reports
from scp_gateway.retrieve import MovePort, Retrieve
from scp_gateway.room import Room
from scp_gateway.schedule_port import LazyPerformed, LazyWorklist
from scp_gateway.service import GatewayService
from scp_gateway.worklist import WorklistService

if TYPE_CHECKING:
    from scp_gateway.archive_port import CommitmentDesk

_log = get_logger("dicomrelay.gateway")

_GRACE_S: Final = 5.0
_LAST_WAKE_UP_S: Final = 1.0


_NO_PORT: Final = ReportPort()
_NO_LEDGER: Final = MovePort()


def run(
    settings: Settings,
    *,
    wake: Callable[[], None],
    ready: Callable[[], None],
    stop: threading.Event,
    ended: Callable[[Sequence[str]], None] | None = None,
    reports: ReportPort = _NO_PORT,
    moves: MovePort = _NO_LEDGER,
    came: Came = nothing_came,
) -> None:
    """Listen until `stop` is set, then let open associations finish for a few seconds.

    Parameters
    ----------
    wake : Callable
        Tells the workers that something has arrived; may raise and may block. Called in the process that
        received, so a connection must not be made before the first call.
    ready : Callable
        Called once, when connections are taken.
    ended : Callable, optional
        As `wake`, with the ids of associations over which nothing more comes.
    reports : ReportPort
        Who is told of reports of storage commitment, and who knows their transactions.
    moves : MovePort
        What a C-MOVE asks the ledger.
    came : Callable
        Digests of all data sets that came under some UIDs; may take its time, and raise RelayError.

    Raises
    ------
    PortInUse, ConfigurationError
        The address cannot be listened on, or a file of [gateway.tls] cannot be used.
    SpoolError
        The spool cannot be made.
    """
    gateway = settings.gateway
    if gateway.tls is not None:
        acceptor_context(gateway.tls)  # what is wrong with its files is said here, and not by a child
    reception.check(settings)  # the same for names, hashes and keys
    make_room_for_descriptors(gateway)
    spool = _open_spool(settings)
    recovery = spool.recover()
    _report_box(settings).sweep()
    _log.info("spool recovered", action="spool.recovered", swept=recovery.swept, waiting=recovery.waiting)
    storage_sop_classes()  # the slow imports, before anybody waits for an answer, and once for all processes
    listener = listen(gateway.host, gateway.port)
    try:
        if not settings.peers and not is_loopback(gateway.host):
            _log.warning(
                "no [[peers]] are set: nobody but this machine may call",
                action="gateway.loopback-only",
                host=gateway.host,
            )
        _log.info(
            "listening",
            action="gateway.listening",
            ae_title=gateway.ae_title,
            host=gateway.host,
            port=gateway.port,
            tls=gateway.tls is not None,
            processes=gateway.processes,
        )
        if gateway.processes == 1:
            _serve(
                settings,
                spool,
                listener,
                wake=wake,
                ready=ready,
                stop=stop,
                ended=ended,
                reports=reports,
                moves=moves,
                came=came,
            )
        else:
            run_processes(
                "gateway",
                gateway.processes,
                lambda stopping: _serve(
                    settings,
                    _open_spool(settings),
                    listener,
                    wake=wake,
                    ready=_nothing,
                    stop=stopping,
                    ended=ended,
                    reports=reports,
                    moves=moves,
                    came=came,
                ),
                ready=ready,
                stop=stop,
                grace_s=_GRACE_S + _LAST_WAKE_UP_S + 1.0,
            )
    finally:
        listener.close()
    spool.close()


def _open_spool(settings: Settings) -> Spool:
    return Spool(settings.path("spool"), min_free_bytes=settings.gateway.min_free_bytes, works_ahead=True)


def _report_box(settings: Settings) -> ReportBox:
    return ReportBox(settings.path("spool", "reports"), min_free_bytes=settings.gateway.min_free_bytes)


def _nothing() -> None:
    """A child is ready when its parent is: the socket listens already."""


def _serve(  # noqa: PLR0913 - the composition root: one for each part
    settings: Settings,
    spool: Spool,
    listener: socket.socket,
    *,
    wake: Callable[[], None],
    ready: Callable[[], None],
    stop: threading.Event,
    ended: Callable[[Sequence[str]], None] | None,
    reports: ReportPort,
    moves: MovePort,
    came: Came,
) -> None:
    notifier, report_notifier = Notifier(wake, ended=ended), Notifier(reports.wake)
    taker = Reports(
        settings.destinations, _report_box(settings), kept=report_notifier.notify, knows=reports.knows
    )
    room = Room(settings)
    archive, worklist = open_archive(settings), LazyWorklist(settings)
    performed = LazyPerformed(settings)
    witness = Witness(Audit(settings))
    service = GatewayService(
        settings.gateway,
        Peers(settings.peers),
        spool,
        notifier.notify,
        taker,
        room,
        notifier.association_ended,
        _operations(
            settings,
            archive,
            moves,
            worklist,
            performed,
            witness,
            desk=lambda: archive.commitments(came, spool.has_arrivals_until),
        ),
        witness=witness,
    )
    tls = settings.gateway.tls
    acceptor = Acceptor(listener, service, limits_of(settings.gateway), door(tls) if tls else None)
    stopper = threading.Thread(target=_stop_when_told, args=(acceptor, stop), name="stop", daemon=True)
    room.begin(stop)
    notifier.start()
    report_notifier.start()
    stopper.start()
    try:
        ready()
        acceptor.serve()
        stopper.join()  # associations that are open have their grace
    finally:
        notifier.stop(_LAST_WAKE_UP_S)
        report_notifier.stop(_LAST_WAKE_UP_S)
        archive.close()
        worklist.close()
        performed.close()


def _operations(
    settings: Settings,
    archive: ArchivePort,
    moves: MovePort,
    worklist: LazyWorklist,
    performed: LazyPerformed,
    witness: Witness,
    *,
    desk: Callable[[], CommitmentDesk],
) -> Operations:
    """What is asked of the archive, where there is one, and of the schedule. Nothing is opened before somebody asks."""
    has_archive = settings.archive.enabled
    return Operations(
        settings.query,
        FindService(settings.query, settings.gateway.ae_title, archive, witness=witness)
        if has_archive
        else None,
        Retrieve(settings, archive, moves, witness=witness) if has_archive else None,
        Commitments(settings.commitment, settings.gateway, desk) if has_archive else None,
        WorklistService(settings.worklist, worklist, timeout_s=settings.query.timeout_s, witness=witness)
        if settings.worklist.enabled
        else None,
        PerformedService(performed, StepBounds(settings, performed.taken))
        if settings.performed_procedure_steps.enabled
        else None,
    )


def _stop_when_told(acceptor: Acceptor, stop: threading.Event) -> None:
    stop.wait()
    acceptor.stop(_GRACE_S)
