"""The frames that a request asks for, looked up in the archive's index; streams that ask for the same at once share it."""

from __future__ import annotations

import asyncio
from typing import Final

from archive import Archive
from archive.index.listing import ListedInstance
from streamer.streams.messages import LARGEST_POSITION, Open, WordsError
from streamer.streams.positions import Positions

MOST_INSTANCES: Final = 100_000
_Asked = tuple[str, str, tuple[str, ...]]


class Listings:
    """Looks instances up, in threads. For one loop only."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._under_way: dict[_Asked, asyncio.Task[list[ListedInstance]]] = {}

    async def positions(self, asked: Open) -> Positions:
        """What a request is of.

        Raises
        ------
        WordsError
            404: the archive has nothing of it; 413: it is too much.
        ServiceUnavailable
            The index does not answer.
        """
        found = await asyncio.shield(self._shared((asked.study, asked.series, asked.instances)))
        if len(found) > MOST_INSTANCES:
            raise WordsError(f"this is of more than {MOST_INSTANCES} instances: ask for less", status=413)
        missing = set(asked.instances).difference(each.sop_instance_uid for each in found)
        if missing or not found:
            what = f"instance {min(missing)}" if missing else "instance"
            where = f"study {asked.study}" + (f", series {asked.series}" if asked.series else "")
            raise WordsError(f"the archive has no {what} of {where}", status=404)
        positions = Positions(found, first_frame=asked.first_frame, last_frame=asked.last_frame)
        if len(positions) > LARGEST_POSITION:
            raise WordsError(
                f"this is of more than {LARGEST_POSITION} frames: ask for less, with frames", status=413
            )
        return positions

    def _shared(self, asked: _Asked) -> asyncio.Task[list[ListedInstance]]:
        task = self._under_way.get(asked)
        if task is None:
            task = asyncio.ensure_future(self._look_up(asked))
            self._under_way[asked] = task
        return task

    async def _look_up(self, asked: _Asked) -> list[ListedInstance]:
        study, series, instances = asked
        try:
            return await asyncio.to_thread(
                self._archive.listing, study, series, instances, most=MOST_INSTANCES + 1
            )
        finally:
            del self._under_way[asked]
