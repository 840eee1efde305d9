"""What storing over the web needs of the house: a place for instances that is as durable as C-STORE's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.service import StoreReply, StoreSink
from dicomrelay.spool import Provenance, SpoolRecord


class Intake(Protocol):
    """Takes instances. For many threads; nothing is opened before the first instance."""

    def refusal(self, calling_ae_title: str, peer_address: str, *, is_identified: bool) -> str:
        """Why that caller may not store, for the caller; "" when it may.

        Parameters
        ----------
        is_identified : bool
            Whether it has shown who it is.
        """

    def check(self, origin: Provenance) -> None:
        """Let pass, or say why there is no room for anything from there now.

        Raises
        ------
        SpoolError
            The low-water mark or a bound is reached, or the spool cannot be opened.
        """

    def begin(
        self,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        origin: Provenance,
        *,
        study_instance_uid: str,
        kept: Callable[[SpoolRecord], None],
    ) -> StoreSink | StoreReply:
        """A place for one instance, or why there is none, with a status of C-STORE.

        Parameters
        ----------
        request : CStoreRequest
            SOP class and instance as the file's meta says; the rest counts for nothing.
        study_instance_uid : str
            The only study that it may be of; "" for any.
        kept : callable
            Gets the record, once it is durable.
        """

    def ended(self, request_id: str) -> None:
        """Nothing more comes by a request that has stored something; returns at once."""

    def close(self) -> None:
        """Everything has ended."""
