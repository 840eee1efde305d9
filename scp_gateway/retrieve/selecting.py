"""What a retrieve is about: asked of the archive, counted while it waits, read into memory when it is its turn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomrelay.dicom.status import Status
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.net.service import RequestedOperation
from dicomrelay.settings import Settings
from scp_gateway.archive_port import ArchivePort
from scp_gateway.retrieve.counting import RetrieveRequest
from scp_gateway.retrieve.keys import Keys, RetrieveRefused, model_of, read_keys, refuse_patterns

if TYPE_CHECKING:
    from scp_gateway.archive_port import StoredInstance

_log = get_logger("dicomrelay.gateway")
CANNOT_COUNT: Final = 0xA701


def keys_of(request: RetrieveRequest, operation: RequestedOperation, settings: Settings) -> Keys:
    """What its identifier asks for. Raises RetrieveRefused."""
    model = model_of(request.sop_class_uid)
    if model is None:
        raise RetrieveRefused(Status.SOP_CLASS_NOT_SUPPORTED, "no information model of a retrieve")
    return read_keys(
        model,
        operation.identifier,
        operation.transfer_syntax_uid,
        relational=settings.query.relational == "always",
    )


class Selection:
    """The instances that some keys name. Nothing of it is kept: each question asks the archive.

    Parameters
    ----------
    most : int
        More than so many are refused.
    """

    def __init__(self, archive: ArchivePort, keys: Keys, most: int) -> None:
        self._archive = archive
        self._keys = keys
        self._most = most

    def count(self) -> int:
        """How many there are now. Raises RetrieveRefused, as `read`."""
        return sum(1 for _ in self._found())

    def read(self) -> list[StoredInstance]:
        """What is to be sent, in order: about a kilobyte of memory each.

        Raises
        ------
        RetrieveRefused
            There are too many, or the archive does not answer.
        """
        return [*self._found()]

    def _found(self) -> Iterator[StoredInstance]:
        keys, most = self._keys, self._most
        try:
            found = self._archive.select(
                patient_id=keys.patient_id,
                study_uids=keys.study_uids,
                series_uids=keys.series_uids,
                sop_instance_uids=keys.sop_instance_uids,
            )
            count = 0
            for count, each in enumerate(islice(found, most), 1):  # noqa: B007 - the last of them is what is wanted
                yield each
            is_all = next(iter(found), None) is None
        except RelayError as error:
            _log.warning("the archive cannot be asked", action="retrieve.no-archive", error=str(error))
            raise RetrieveRefused(CANNOT_COUNT, "the archive does not answer, ask again later") from None
        if not count:
            refuse_patterns(keys)
        if not is_all:
            raise RetrieveRefused(CANNOT_COUNT, f"more than {most} instances at once, ask for less")
