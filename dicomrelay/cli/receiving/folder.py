"""The output folder: names, and how a whole file comes to have one (docs/design/sender-and-receiver.md)."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from archive.attributes import read_attributes
from archive.layout import Layout
from dicomrelay.cli.receiving.part_file import PartFile
from dicomrelay.cli.receiving.work_folder import WorkFolder
from dicomrelay.dicom.file_names import component, patient_component
from dicomrelay.dicom.part10 import FileMeta
from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import SpoolError, SpoolFull
from dicomrelay.spool.directory_sync import DirectorySync
from dicomrelay.spool.free_space import FreeSpace
from dicomrelay.spool.operations import OperatingSystem, Operations, sync_path
from dicomrelay.spool.writer import spool_error

_MOST_VERSIONS: Final = 1000
_KNOWN_FOLDERS: Final = 10_000
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


class FileLayout(StrEnum):
    """Where an instance lies under the output folder."""

    FLAT = "flat"
    STUDY = "study"
    PATIENT = "patient"


class Keeping(StrEnum):
    """What became of an instance."""

    NEW = "new"
    AGAIN = "again"  # the same bytes were there
    BESIDE = "beside"  # others were there


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an instance is now, under the output folder."""

    relative: str
    keeping: Keeping


class OutputFolder:
    """Takes instances; for all threads of one `receive` or `get`, which has it for itself. `close` it.

    Parameters
    ----------
    flush : bool
        Whether an instance that is kept survives a power cut.
    min_free_bytes : int
        Under so much free space no instance is begun.
    operations : Operations, optional
        The system calls of a commit, for tests that make them fail.

    Raises
    ------
    ConfigurationError
        It cannot be made or written, or another receiver has it.
    """

    def __init__(
        self,
        root: Path,
        *,
        layout: FileLayout = FileLayout.FLAT,
        flush: bool = True,
        min_free_bytes: int = 0,
        operations: Operations | None = None,
    ) -> None:
        self.root = root.absolute()
        self._paths = Layout(self.root)
        self._layout = layout
        self._flush = flush
        self._operations = operations or OperatingSystem()
        self._work = WorkFolder(self.root)
        self._min_free_bytes = min_free_bytes
        self._space = FreeSpace(self.root, min_free_bytes)
        self._root_names = DirectorySync(self.root, self._operations)
        self._folders: set[Path] = {self.root}
        self._folders_lock = threading.Lock()
        self._naming = threading.Lock()  # where there are no links

    def close(self) -> None:
        """No instance is under way any more."""
        self._root_names.close()
        self._work.close()

    def begin(self, meta: FileMeta) -> PartFile:
        """A file for an instance.

        Raises
        ------
        SpoolFull
            Free space is under the mark, or there is none.
        SpoolError
            The file cannot be made.
        """
        try:
            self._space.check()
        except SpoolFull as error:  # its words are those of the spool, which has a setting of its own
            raise SpoolFull(
                f"--output {self.root}: fewer than {self._min_free_bytes} bytes are free, and so many stay free there: "
                "make room, it goes on by itself"
            ) from error
        return PartFile(self._work.next_part(), meta, self._operations)

    def keep(self, part: PartFile, header: Header) -> Kept:
        """Give a complete file its name; it is durable then, if that is asked for.

        Parameters
        ----------
        header : Header
            Its SOP Instance UID is what the file is named after; study and series may be missing.

        Raises
        ------
        SpoolFull, SpoolError
            It is not; its file is gone, or stands there whole under a name that a power cut may take.
        """
        part.close(flush=self._flush)
        try:
            return self._name(part, self._stem(part, header))
        except OSError as error:
            raise spool_error(self.root, "an instance cannot be given its name", error) from error
        finally:
            part.discard()

    # ---- inside

    def _stem(self, part: PartFile, header: Header) -> str:
        instance = header.sop_instance_uid
        if self._layout is FileLayout.FLAT:
            return component(instance)
        study = header.study_instance_uid or derived_uid("study", instance)
        series = header.series_instance_uid or derived_uid("series", instance)
        names = [study, series, instance]
        if self._layout is FileLayout.PATIENT:
            return "/".join((self._patient(part), *map(component, names)))
        return "/".join(map(component, names))

    @staticmethod
    def _patient(part: PartFile) -> str:
        found = read_attributes(
            Path(part.path),
            data_set_offset=part.data_set_offset,
            transfer_syntax_uid=part.meta.transfer_syntax_uid,
        )
        return patient_component(found.text("patient_id"))

    def _name(self, part: PartFile, stem: str) -> Kept:
        for version in range(1, _MOST_VERSIONS):
            relative = f"{stem}.dcm" if version == 1 else f"{stem}_{version}.dcm"
            target = self._paths.resolve(relative)
            if self._placed(part.path, target):
                self._sync(target)
                return Kept(relative, Keeping.NEW if version == 1 else Keeping.BESIDE)
            if part.holds_the_same_as(target):
                self._sync_bytes(target)
                self._sync(target)  # whoever gave it its name may be about to
                return Kept(relative, Keeping.AGAIN)
        raise SpoolError(f"{self.root}: {_MOST_VERSIONS} versions of {stem.rpartition('/')[2]} are there")

    def _placed(self, source: str, target: Path) -> bool:
        self._make_folder(target.parent)
        try:
            return self._link(source, target)
        except FileNotFoundError:  # somebody has taken the folder away
            with self._folders_lock:
                self._folders = {self.root}
            self._make_folder(target.parent)
            return self._link(source, target)

    def _link(self, source: str, target: Path) -> bool:
        """Give a file its name, unless that is taken."""
        try:
            os.link(source, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with self._naming:
                if target.exists():
                    return False
                self._operations.rename(source, str(target))
        return True

    def _sync(self, target: Path) -> None:
        """Make a name durable. A file whose name may not be stays: others may have been told of it by now."""
        if not self._flush:
            return
        if target.parent == self.root:
            self._root_names.sync()
        else:
            sync_path(target.parent)

    def _sync_bytes(self, target: Path) -> None:
        """Make the bytes of a file durable that somebody else has put there, perhaps without that."""
        if not self._flush:
            return
        fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._operations.sync_data(fd)
        finally:
            self._operations.close(fd)

    def _make_folder(self, folder: Path) -> None:
        """Make it and those above it, durable in those above them; known ones cost nothing."""
        if folder in self._folders:
            return
        with self._folders_lock:
            missing = [folder, *folder.parents]
            for each in reversed(missing[: missing.index(self.root)]):
                if each not in self._folders:
                    each.mkdir(exist_ok=True, mode=0o700)
                    if self._flush:
                        sync_path(each.parent)
            if len(self._folders) > _KNOWN_FOLDERS:
                self._folders = {self.root}
            self._folders.add(folder)
