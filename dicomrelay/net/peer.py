"""A peer, and all that an association to it takes."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from dicomrelay.net.limits import Timeouts
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.net.requestor import Association
from dicomrelay.ul.pdu import RoleSelection, UserIdentity


@dataclass(frozen=True, slots=True)
class RemotePeer:
    """Another application entity, and how we call it.

    Attributes
    ----------
    remote : RemoteAe
    calling_ae_title : str
        What we call ourselves there.
    timeouts : Timeouts
    tls : ssl.SSLContext, optional
        Of `net.tls.requestor_context`; None for plain TCP.
    identity : UserIdentity, optional
        Who we say the user is.
    """

    remote: RemoteAe
    calling_ae_title: str
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls: ssl.SSLContext | None = None
    identity: UserIdentity | None = None

    def associate(
        self,
        contexts: Sequence[tuple[str, Sequence[str]]],
        roles: Sequence[RoleSelection] = (),
        *,
        window: int = 1,
    ) -> Association:
        """Open an association: `Association.request`, with its parameters and errors.

        Raises
        ------
        AssociationError
            None came about.
        ConfigurationError
            An AE title or a port that is none, or more to negotiate than an association takes.
        """
        return Association.request(
            self.remote,
            calling_ae_title=self.calling_ae_title,
            contexts=contexts,
            timeouts=self.timeouts,
            tls=self.tls,
            identity=self.identity,
            roles=roles,
            window=window,
        )
