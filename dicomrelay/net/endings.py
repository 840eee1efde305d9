"""How an association of ours ends: released, or with one error that says who ended it and why."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, ParamSpec, Protocol, TypeVar

from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    PeerBrokeProtocol,
    PeerSpeaksTls,
    RemoteProtocolError,
    TlsFault,
)
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.net.tls_faults import failed
from dicomrelay.net.transport import Transport
from dicomrelay.ul.connection import ConnectionClosed, ConnectionEvent
from dicomrelay.ul.pdu import Abort, AbortSource, PDataTf, ReleaseRequest, ReleaseResponse
from dicomrelay.ul.state import State

_P = ParamSpec("_P")
_T = TypeVar("_T")


class StoreEndings(Protocol):
    """What sending C-STORE requests needs to know of how its association ends, whoever asked for it."""

    def guarded(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a part of the conversation; when it raises, the association is over."""

    def of(self, event: ConnectionEvent) -> Exception:
        """The error for an event that ends the association."""

    def abort(self) -> None:
        """A-ABORT."""


# How long we look for the words of a peer that has closed on us while we were sending.
_LAST_WORD_S: Final = 0.5


class Endings:
    """The ends of one association.

    Parameters
    ----------
    remote : RemoteAe
        For the words.
    transport : Transport
    is_tls : bool
        Whether it is under TLS.

    Attributes
    ----------
    take : callable or None
        Takes a P-DATA-TF that a peer sent before its last word: answers that it gave are not lost.
    """

    __slots__ = ("_connection", "_is_tls", "_remote", "_transport", "take")

    def __init__(self, remote: RemoteAe, transport: Transport, *, is_tls: bool) -> None:
        self._remote = remote
        self._transport = transport
        self._connection = transport.connection
        self._is_tls = is_tls
        self.take: Callable[[PDataTf], None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the association is established."""
        return self._connection.state is State.STA6_ESTABLISHED

    def guarded(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a part of the conversation; whatever it raises, the association is over then.

        Raises
        ------
        AssociationError
            PeerBrokeProtocol and TlsFailed among them. What else `call` raises goes through.
        """
        try:
            return call(*args, **kwargs)
        except PeerSpeaksTls as error:
            self._transport.close()
            raise failed(str(self._remote), TlsFault.TLS_PEER, "it speaks TLS, and we do not") from error
        except RemoteProtocolError as error:
            self._connection.request_abort(Abort(AbortSource.SERVICE_PROVIDER, error.abort_reason))
            self._transport.close()
            raise PeerBrokeProtocol(
                f"{self._remote} broke the protocol: {error}",
                section=error.section,
                abort_reason=error.abort_reason,
            ) from error
        except AssociationAborted as error:
            said = self._last_word() if self.is_open else None
            self.abort()
            if said is not None:
                raise said from error
            raise
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """A-ABORT, and close. Does nothing when the association is over."""
        self._connection.request_abort(Abort())
        self._transport.close()

    def release(self, timeout_s: float) -> None:
        """A-RELEASE, and close; a peer that does not answer in time is aborted. Does nothing when the association is over."""
        transport, connection = self._transport, self._connection
        try:
            if self.is_open:
                transport.send(connection.send(ReleaseRequest()))
                deadline = monotonic() + timeout_s
                while connection.state is not State.STA1_IDLE:
                    event = transport.wait_event(deadline, "release")
                    if isinstance(event, ReleaseRequest):  # both asked at once (PS3.8 Section 7.2.2)
                        transport.send(connection.send(ReleaseResponse()))
        except (AssociationError, RemoteProtocolError):
            connection.request_abort(Abort())
        finally:
            transport.close()

    def of(self, event: object) -> AssociationError:
        """The error for an event that ends the association."""
        remote = self._remote
        if isinstance(event, Abort):
            return AssociationAborted(
                f"{remote} aborted the association (source {event.source}, reason {event.reason})",
                source=event.source,
                reason=event.reason,
            )
        if isinstance(event, ConnectionClosed):
            is_first = not self._connection.pdus_received and not self._is_tls
            hint = " without a word; a peer that speaks TLS may do so" if is_first else ""
            return AssociationAborted(f"{remote} closed the connection{hint}")
        return AssociationAborted(f"{remote} ended the association with a {type(event).__name__}")

    def _last_word(self) -> AssociationError | None:
        """The A-ABORT of a peer that closed while we were sending, when it has said one."""
        deadline = monotonic() + _LAST_WORD_S
        try:
            while isinstance(event := self._transport.wait_event(deadline, "last word"), PDataTf):
                if self.take is not None:
                    self.take(event)
        except (AssociationError, RemoteProtocolError):
            return None
        return self.of(event) if isinstance(event, Abort) else None
