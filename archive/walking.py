"""The files under what a person names, one by one: a million of them cost no memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file; `named` when it was named itself and not its folder. `path` is text: there may be a million."""

    path: str
    size_bytes: int
    named: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """What is left out; `fault` when that is no matter of course."""

    path: str
    reason: str
    fault: bool


def walk(paths: Sequence[Path], *, recursive: bool, without: Path | None = None) -> Iterator[Found | Passed]:
    """Every file that is named, and those in every folder that is named, in the order of their names.

    Parameters
    ----------
    recursive : bool
        Folders in folders too. Links to folders are not followed.
    without : Path, optional
        A folder that is passed over wherever it is met.
    """
    avoided = None if without is None else _identity(without)
    for path in paths:
        try:
            state = path.stat()
        except OSError as error:
            yield Passed(str(path), f"{error.strerror}: is the path right?", fault=True)
            continue
        if stat.S_ISDIR(state.st_mode):
            yield from _folder(str(path), recursive, avoided)
        else:
            yield _file(str(path), state, named=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _folder(folder: str, recursive: bool, avoided: tuple[int, int] | None) -> Iterator[Found | Passed]:
    try:
        state = os.stat(folder)  # noqa: PTH116 - text, as everything here
        if (state.st_dev, state.st_ino) == avoided:
            yield Passed(folder, "is the archive itself", fault=False)
            return
        with os.scandir(folder) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield Passed(folder, f"cannot be listed: {error.strerror}", fault=True)
        return
    folders = []
    for entry in here:
        try:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif not entry.is_dir():
                yield _file(entry.path, entry.stat(), named=False)
            elif recursive:
                yield Passed(
                    entry.path,
                    "is a link to a folder, and is not followed: name the folder itself",
                    fault=False,
                )
        except OSError as error:
            yield Passed(entry.path, f"cannot be read: {error.strerror}", fault=True)
    del here
    if recursive:
        for path in folders:
            yield from _folder(path, recursive, avoided)


def _file(path: str, state: os.stat_result, *, named: bool) -> Found | Passed:
    if not stat.S_ISREG(state.st_mode):
        return Passed(path, "is no regular file", fault=named)
    return Found(path, state.st_size, named)
