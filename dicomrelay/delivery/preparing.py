"""What is done to an instance before its first byte is sent: its file is found, and a copy is made where one is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from dicomrelay.delivery.contexts import Alternatives
from dicomrelay.delivery.values import Instance
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.transcode import Copy, Source, Workshop


@dataclass(slots=True, eq=False)
class Wanted:
    """An instance on its way to the peer.

    Attributes
    ----------
    path : Path, optional
        Of its file, once that is found.
    copy : Copy, optional
        What is sent in its place, once one was needed.
    was_gone : bool
        Its file was moved away before it could be opened.
    was_awaited : bool
        An association was given up because its preparation took too long.
    """

    instance: Instance
    path: Path | None = None
    copy: Copy | None = None
    was_gone: bool = False
    was_awaited: bool = False


class Preparation:
    """Finds files and makes copies.

    Parameters
    ----------
    workshop : Workshop or None
        None where no copy may be sent.
    waiting : callable
        Called about once a second while a copy is made.
    """

    def __init__(
        self,
        workshop: Workshop | None,
        alternatives: Alternatives,
        *,
        locate: Callable[[Instance], Path],
        waiting: Callable[[], None],
    ) -> None:
        self._workshop = workshop
        self._alternatives = alternatives
        self._locate = locate
        self._waiting = waiting

    @property
    def may_copy(self) -> bool:
        """Whether a copy in another transfer syntax may be made."""
        return self._workshop is not None

    def syntaxes(self, wanted: Wanted) -> list[str]:
        """The transfer syntaxes it can be sent in, its own first."""
        item = wanted.instance.item
        return [item.transfer_syntax_uid, *self._alternatives(item)]

    def find(self, wanted: Wanted) -> Path:
        """Where its file is; asked once.

        Raises
        ------
        SpoolError, OSError
            Of `locate`.
        """
        if wanted.path is None:
            try:
                wanted.path = self._locate(wanted.instance)
            except FileNotFoundError:  # moved while it was looked at
                wanted.path = self._locate(wanted.instance)
        return wanted.path

    def item(self, wanted: Wanted, accepted: Collection[str]) -> StoreItem:
        """What to send: it as it is when the peer accepts that, else a copy.

        Parameters
        ----------
        accepted : collection of str
            Of `syntaxes`, at least one.

        Raises
        ------
        NotTranscodable
            No copy can be made.
        SpoolError, OSError
            Its file cannot be found or read, or there is no room for a copy.
        """
        as_it_is = replace(wanted.instance.item, path=self.find(wanted))
        syntax = next(each for each in self.syntaxes(wanted) if each in accepted)
        if self._workshop is None or syntax == as_it_is.transfer_syntax_uid:
            self.discard(wanted)  # another association of the same peer wanted one
            return as_it_is
        copy = wanted.copy
        if copy is None or copy.transfer_syntax_uid != syntax:
            self.discard(wanted)
            source = Source(
                as_it_is.path,
                as_it_is.data_set_offset,
                as_it_is.data_set_bytes,
                as_it_is.transfer_syntax_uid,
            )
            copy = wanted.copy = self._workshop.copy(source, syntax, waiting=self._waiting)
        return replace(
            as_it_is,
            transfer_syntax_uid=syntax,
            path=copy.path,
            data_set_offset=0,
            data_set_bytes=copy.length,
        )

    def discard(self, wanted: Wanted) -> None:
        """Remove its copy, where there is one."""
        if wanted.copy is not None and self._workshop is not None:
            self._workshop.discard(wanted.copy)
            wanted.copy = None
