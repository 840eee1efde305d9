"""Copies by profiles of [[edits]], made by a child process as transcodes are (docs/design/edits.md#how-a-copy-is-made)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dicomrelay.edits import Profile
from dicomrelay.edits.wire import as_wire
from dicomrelay.errors import NotEditable, NotTranscodable
from dicomrelay.transcode import Copy, Source, Workshop


@dataclass(frozen=True, slots=True)
class EditedCopy:
    """What stands for an instance.

    Attributes
    ----------
    copy : Copy, optional
        None when the profiles have nothing to do: what arrived is sent.
    sop_instance_uid : str
        Of the copy.
    changes : tuple of str
        Each element that is another, in words without values.
    """

    copy: Copy | None
    sop_instance_uid: str
    changes: tuple[str, ...] = ()


class EditBench(Workshop):
    """Makes edited copies. Not for several threads at once."""

    module: ClassVar[str] = "dicomrelay.delivery.editing_child"
    maker: ClassVar[str] = "the process that edits"

    def edit(
        self,
        source: Source,
        profiles: Sequence[Profile],
        *,
        at_ms: int = 0,
        waiting: Callable[[], None] = lambda: None,
    ) -> EditedCopy:
        """Apply profiles, one after the other; `discard` the copy when it was sent.

        Parameters
        ----------
        at_ms : int
            When the instance came, epoch milliseconds.
        waiting : callable
            Called about once a second.

        Raises
        ------
        NotEditable
            A profile cannot be applied, or forbids that the instance goes out; `retryable` where it was not done in time.
        OSError
            A file cannot be read, or there is no room for the copy.
        """
        path = self.new_path("dcm")
        asked: dict[str, Any] = {
            "source": str(source.path),
            "offset": source.offset,
            "length": source.length,
            "from": source.transfer_syntax_uid,
            "profiles": [as_wire(profile) for profile in profiles],
            "at_ms": at_ms,
        }
        try:
            answer = self.ask(asked, path, reads_bytes=source.length, waiting=waiting)
        except NotTranscodable as error:
            refused = NotEditable(str(error))
            refused.retryable = error.retryable
            raise refused from None
        changes = tuple(answer["changes"])
        if not changes:
            self._remove(path)
            return EditedCopy(None, answer["uid"])
        copy = Copy(path, answer["length"], answer["digest"], source.transfer_syntax_uid)
        return EditedCopy(copy, answer["uid"], changes)
