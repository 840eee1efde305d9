"""What goes wrong between the acceptance of an association and its first message: told to the peer and to the service."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from dicomrelay.errors import AssociationRejected
from dicomrelay.net.requestor import Association
from dicomrelay.net.service import (
    Acceptance,
    AssociationEnding,
    AssociationInfo,
    EndingKind,
    PeerConnection,
    Rejection,
)
from dicomrelay.ul.pdu import AssociateRequest, AsynchronousOperations
from tests.support.engine import (
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    MemoryService,
    Running,
    running_acceptor,
)


@dataclass
class OneSeat(MemoryService):
    """Accepts windows, and one association at a time: its seat is free again when it is told of the end."""

    on_opened: Callable[[], None] | None = None
    seated: list[str] = field(default_factory=list)

    def negotiate(self, request: AssociateRequest, peer: PeerConnection) -> Rejection | Acceptance:
        decided = super().negotiate(request, peer)
        assert isinstance(decided, Acceptance)
        assert not self.seated
        self.seated.append(peer.id)
        return Acceptance(decided.contexts, window=AsynchronousOperations(3, 1))

    def opened(self, association: AssociationInfo) -> None:
        super().opened(association)
        if self.on_opened is not None:
            self.on_opened()

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        self.seated.remove(association.id)
        super().closed(association, ending)


def _associate(running: Running) -> Association:
    contexts = [
        (CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,)),
        ("1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
    ]
    return Association.request(running.remote, calling_ae_title="SENDER", contexts=contexts, window=3)


def _works(running: Running) -> None:
    association = _associate(running)
    assert association.echo() == 0
    association.release()


def _trip() -> None:
    raise ValueError


def test_without_a_descriptor_for_its_pipe_it_is_rejected_for_now_and_its_seat_is_free() -> None:
    """(2, 3, 2), local limit exceeded; the service hears the end, once, and the next one gets in."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def use_up() -> None:
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))

    service = OneSeat(on_opened=use_up)
    try:
        with running_acceptor(service) as running:
            with pytest.raises(AssociationRejected) as caught:
                _associate(running)
            assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 2)
            ending = service.wait_ending()
            assert (ending.kind, ending.reason) == (EndingKind.ABORTED_BY_US, "rejected: Too many open files")
            service.on_opened = None
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            _works(running)
            service.wait_ending(2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(service.infos) == len(service.endings) == 2


def test_a_service_that_fails_when_told_of_the_opening_is_told_of_the_end() -> None:
    """The peer is rejected for now (2, 1, 1), and the seat is free."""
    service = OneSeat(on_opened=_trip)
    with running_acceptor(service) as running:
        with pytest.raises(AssociationRejected) as caught:
            _associate(running)
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 1, 1)
        service.wait_ending()
        service.on_opened = None
        _works(running)
        service.wait_ending(2)
    assert service.seated == []
