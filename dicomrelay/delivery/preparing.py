"""What is done to an instance before its first byte is sent: its file is found, and a copy is made where one is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dicomrelay.delivery.contexts import Alternatives
from dicomrelay.delivery.editing import EditBench, EditedCopy
from dicomrelay.delivery.values import Instance
from dicomrelay.edits import Profile
from dicomrelay.errors import NotEditable
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.transcode import Copy, Source, Workshop


@dataclass(slots=True, eq=False)
class Wanted:
    """An instance on its way to the peer.

    Attributes
    ----------
    path : Path, optional
        Of its file, once that is found.
    edited : EditedCopy, optional
        What profiles have made of it, where it has some.
    copy : Copy, optional
        What is sent in the place of either, in another transfer syntax, once one was needed.
    edits : str
        The profiles that changed it, with their versions; "" when none did.
    was_gone : bool
        Its file was moved away before it could be opened.
    was_awaited : bool
        An association was given up because its preparation took too long.
    """

    instance: Instance
    path: Path | None = None
    edited: EditedCopy | None = None
    edits: str = ""
    copy: Copy | None = None
    was_gone: bool = False
    was_awaited: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of what is sent, where that is not what arrived."""
        if self.copy is not None:
            return self.copy.digest
        return self.edited.copy.digest if self.edited is not None and self.edited.copy is not None else ""


class Preparation:
    """Finds files and makes copies.

    Parameters
    ----------
    workshop : Workshop or None
        None where no copy may be sent.
    waiting : callable
        Called about once a second while a copy is made.
    bench : EditBench, optional
        Without one, what profiles are to change is refused.
    edits : sequence of Profile
        For every instance, behind its own.
    """

    def __init__(
        self,
        workshop: Workshop | None,
        alternatives: Alternatives,
        *,
        locate: Callable[[Instance], Path],
        waiting: Callable[[], None],
        bench: EditBench | None = None,
        edits: Sequence[Profile] = (),
    ) -> None:
        self._workshop = workshop
        self._alternatives = alternatives
        self._locate = locate
        self._waiting = waiting
        self._bench = bench
        self._edits = edits

    @property
    def may_copy(self) -> bool:
        """Whether a copy in another transfer syntax may be made."""
        return self._workshop is not None

    def syntaxes(self, wanted: Wanted) -> list[str]:
        """The transfer syntaxes it can be sent in, its own first."""
        item = wanted.instance.item
        return [item.transfer_syntax_uid, *self._alternatives(item)]

    def find(self, wanted: Wanted) -> Path:
        """Where its file is, which is asked once; profiles that change it are applied then.

        Raises
        ------
        NotEditable
            A profile cannot be applied, or forbids that it goes out.
        SpoolError, OSError
            Of `locate`, or there is no room for a copy.
        """
        if wanted.path is None:
            try:
                wanted.path = self._locate(wanted.instance)
            except FileNotFoundError:  # moved while it was looked at
                wanted.path = self._locate(wanted.instance)
        if wanted.edited is None:
            self._edit(wanted, wanted.path)
        return wanted.path

    def _edit(self, wanted: Wanted, path: Path) -> None:
        profiles = [*dict.fromkeys((*wanted.instance.edits, *self._edits))]
        if not profiles:
            return
        if self._bench is None:
            raise NotEditable("there is no place where copies could be made")
        source = _source(replace(wanted.instance.item, path=path))
        at_ms = wanted.instance.at_ms
        wanted.edited = self._bench.edit(source, profiles, at_ms=at_ms, waiting=self._waiting)
        if wanted.edited.copy is not None:
            wanted.edits = ", ".join(profile.title for profile in profiles)

    def item(self, wanted: Wanted, accepted: Collection[str]) -> StoreItem:
        """What to send: it, as it is or as profiles made it, when the peer accepts that, else a copy.

        Parameters
        ----------
        accepted : collection of str
            Of `syntaxes`, at least one.

        Raises
        ------
        NotTranscodable
            No copy can be made; NotEditable of `find` too.
        SpoolError, OSError
            Its file cannot be found or read, or there is no room for a copy.
        """
        as_it_is = _as_edited(replace(wanted.instance.item, path=self.find(wanted)), wanted.edited)
        syntax = next(each for each in self.syntaxes(wanted) if each in accepted)
        if self._workshop is None or syntax == as_it_is.transfer_syntax_uid:
            self._drop_copy(wanted)  # another association of the same peer wanted one
            return as_it_is
        copy = wanted.copy
        if copy is None or copy.transfer_syntax_uid != syntax:
            self._drop_copy(wanted)
            copy = wanted.copy = self._workshop.copy(_source(as_it_is), syntax, waiting=self._waiting)
        return replace(
            as_it_is,
            transfer_syntax_uid=syntax,
            path=copy.path,
            data_set_offset=0,
            data_set_bytes=copy.length,
        )

    def discard(self, wanted: Wanted) -> None:
        """Remove its copies, where there are some."""
        self._drop_copy(wanted)
        if wanted.edited is not None and wanted.edited.copy is not None and self._bench is not None:
            self._bench.discard(wanted.edited.copy)
        wanted.edited = None

    def _drop_copy(self, wanted: Wanted) -> None:
        if wanted.copy is not None and self._workshop is not None:
            self._workshop.discard(wanted.copy)
            wanted.copy = None


def _source(item: StoreItem) -> Source:
    return Source(item.path, item.data_set_offset, item.data_set_bytes, item.transfer_syntax_uid)


def _as_edited(item: StoreItem, edited: EditedCopy | None) -> StoreItem:
    if edited is None or edited.copy is None:
        return item
    return replace(
        item,
        sop_instance_uid=edited.sop_instance_uid,
        path=edited.copy.path,
        data_set_offset=0,
        data_set_bytes=edited.copy.length,
    )
