"""Export: instances of a selection to a folder, a ZIP file or a file-set with a DICOMDIR; docs/design/archive-export.md."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from archive.archive import Archive
from archive.dicomdir import DICOMDIR
from archive.export_directory import ExportDirectory
from archive.export_folder import FolderTarget
from archive.export_names import NAMES, file_id
from archive.export_source import file_bytes, stored_file
from archive.export_values import (
    ExportedInstance,
    ExportOutcome,
    ExportProgress,
    ExportReport,
    NotExportable,
    Tally,
    taken_away,
)
from archive.outline import Outline, OutlinedInstance, outlined
from archive.values import Selection
from archive.zipped import ZipTarget
from dicomrelay.errors import ConfigurationError

__all__ = ["ExportOutcome", "ExportProgress", "ExportReport", "ExportedInstance", "export"]

OnProgress = Callable[[ExportProgress], None]
# How often, and how long after one another, a file is looked at again that somebody is about to replace.
_LOOKS: Final = 50
_LOOK_S: Final = 0.1
_REMOVED: Final = "it was removed from the archive meanwhile"


def export(  # noqa: PLR0913 - one for each form and each bound
    archive: Archive,
    selection: Selection,
    target: Path,
    *,
    flatten: bool = False,
    dicomdir: bool = False,
    zip: bool = False,  # noqa: A002 - what everybody calls it
    overwrite: bool = False,
    workers: int = 8,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Export a selection. May be called again after any failure: what is in a folder already is verified and left.

    Parameters
    ----------
    target : Path
        A folder, made if need be; with `zip`, a file.
    flatten : bool
        All files in one folder, named by SOP Instance UID.
    dicomdir : bool
        A file-set: names of PS3.10 Section 8, and a DICOMDIR.
    overwrite : bool
        What is in the target under the same name and has other bytes gives way.
    workers : int
        Threads that write files of a folder, 1 to 64: flushes of several cost little more than one. A ZIP file has one.
    on_progress : callable, optional
        Called with an `ExportProgress` after each instance. What it raises ends the export, and leaves whole files only.

    Raises
    ------
    ConfigurationError
        `flatten` and `dicomdir` at once; a target that cannot be, is in the archive, or has a DICOMDIR or is a ZIP file that
        may not be overwritten; a selection that makes no sense.
    ArchiveError
        The target takes no more.
    ServiceUnavailable
        The index or the storage does not answer.
    """
    if flatten and dicomdir:
        raise ConfigurationError("flatten and dicomdir: choose one; a file-set has names of its own")
    _require_outside(archive, target)
    with outlined(archive, selection) as outline:
        if not outline.count:
            return ExportReport(target, 0, {}, 0)
        with ExitStack() as stack:
            place = _target(target, is_zip=zip, overwrite=overwrite)
            stack.callback(place.close)
            directory = None
            if dicomdir:
                if isinstance(place, FolderTarget) and place.has(DICOMDIR) and not overwrite:
                    raise ConfigurationError(
                        f"{target} has a DICOMDIR: choose another folder, or --overwrite it"
                    )
                directory = stack.enter_context(ExportDirectory())
            name_of = file_id if directory else NAMES[flatten]
            return _Export(archive, place, name_of, directory, 1 if zip else workers).run(
                outline, on_progress
            )


def _target(path: Path, *, is_zip: bool, overwrite: bool) -> FolderTarget | ZipTarget:
    return ZipTarget(path, overwrite=overwrite) if is_zip else FolderTarget(path, overwrite=overwrite)


class _Export:
    """One export on its way."""

    def __init__(
        self,
        archive: Archive,
        target: FolderTarget | ZipTarget,
        name_of: Callable[[OutlinedInstance], str],
        directory: ExportDirectory | None,
        workers: int,
    ) -> None:
        self._archive = archive
        self._target = target
        self._name_of = name_of
        self._directory = directory
        self._workers = workers

    def run(self, outline: Outline, on_progress: OnProgress | None) -> ExportReport:
        tally = Tally()
        with closing(self._exported(outline)) as exported:
            for instance, done in exported:
                if self._directory and done.outcome.is_there:
                    self._record(self._directory, instance, done.name)
                tally.add(done)
                if on_progress:
                    on_progress(
                        ExportProgress(tally.done, outline.count, tally.done_bytes, outline.byte_count, done)
                    )
        is_any = any(outcome.is_there for outcome in tally.counts)
        if self._directory and is_any:
            size = self._directory.finish()
            self._target.put_file(DICOMDIR, self._directory.chunks(), size=size)
        self._target.finish()
        return ExportReport(
            self._target.path,
            outline.count,
            dict(tally.counts),
            tally.exported_bytes,
            tuple(tally.problems),
            has_dicomdir=self._directory is not None and is_any,
            made_up=self._directory.made_up if self._directory else 0,
        )

    def _exported(self, outline: Outline) -> Generator[tuple[OutlinedInstance, ExportedInstance], None, None]:
        """What became of each, in order; a few are under way ahead of it."""
        if self._workers == 1:
            for instance in outline:
                yield self._one(instance)
            return
        ahead: deque[Future[tuple[OutlinedInstance, ExportedInstance]]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="export") as pool:
            try:
                for instance in outline:
                    ahead.append(pool.submit(self._one, instance))
                    if len(ahead) >= 2 * self._workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _one(self, instance: OutlinedInstance) -> tuple[OutlinedInstance, ExportedInstance]:
        """Export it; what was replaced since the outline was made leaves as it is now, and is not called damaged."""
        done = self._as_it_is(instance)
        again = Selection(sop_instance_uids=(done.sop_instance_uid,))
        for _ in range(_LOOKS):
            if done.outcome not in {ExportOutcome.DAMAGED, ExportOutcome.MISSING}:
                break
            # Asked before the row: whoever ends in between has another row by then.
            is_changing = self._is_changing(done.sop_instance_uid)
            now = next(self._archive.select(again), None)
            if now is None:
                return instance, replace(done, outcome=ExportOutcome.MISSING, reason=_REMOVED)
            if now == instance.stored:
                if not is_changing:
                    break
                # The file is the new one already, and its row is about to be.
                time.sleep(_LOOK_S)
            instance = replace(instance, stored=now)
            done = self._as_it_is(instance)
        return instance, done

    def _is_changing(self, sop_instance_uid: str) -> bool:
        """Whether somebody is about to put other bytes in its place."""
        changes = self._archive.writing_tools.changes.open_changes()
        return any(change.facts.get("uid") == sop_instance_uid for change in changes)

    def _as_it_is(self, instance: OutlinedInstance) -> ExportedInstance:
        stored = instance.stored
        name, reason = self._name_of(instance), ""
        try:
            with stored_file(self._archive, stored) as source:
                chunks = file_bytes(source, stored)
                outcome = self._target.put(name, stored, chunks, when_ms=instance.stored_ms)
        except NotExportable as error:
            outcome, reason = error.outcome, str(error)
        return ExportedInstance(
            stored.study_instance_uid,
            stored.series_instance_uid,
            stored.sop_instance_uid,
            outcome,
            name,
            stored.file_bytes,
            reason,
        )

    def _record(self, directory: ExportDirectory, instance: OutlinedInstance, name: str) -> None:
        """Its record, from its file in the target, or of a ZIP file from the stored one that was just verified.

        Raises
        ------
        ArchiveError
            Somebody took the file away since.
        """
        there = self._target.written(name, instance.stored)
        if there is not None:
            try:
                directory.add(instance, *there, name)
            except OSError as error:
                raise taken_away(name, error) from None
            return
        with stored_file(self._archive, instance.stored) as source:
            directory.add(instance, source, instance.stored.data_set_offset, name)


def _require_outside(archive: Archive, target: Path) -> None:
    root = os.path.realpath(archive.layout.root)
    if os.path.commonpath((root, os.path.realpath(target))) == root:
        raise ConfigurationError(f"{target} is in the archive: choose a place outside of it")
