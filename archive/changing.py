"""Changes of an archive that are begun: finished or undone by whoever finds them, at any time, again and again.

Every step is a section of its own that reads the rows first (docs/design/archive-writing.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from archive.disk import temporary_name
from archive.index.changes import Change, Section
from archive.layout import Layout
from archive.made_files import remove_empty_folders
from archive.storage import LocalStorage, Put, Replacing
from archive.values import StoredInstance
from archive.writing import WritingTools
from dicomrelay.errors import RelayError, ServiceUnavailable
from dicomrelay.log import get_logger

DELETE: Final = "delete"
REPLACE: Final = "replace"

_log = get_logger("dicomrelay.archive")
# Deleting one takes a moment where the storage is far away, and nobody else writes to the index meanwhile.
_TOGETHER: Final = 100
_TURNS: Final = 5


def recover(tools: WritingTools) -> int:
    """Finish or undo every change that is begun, and return how many there were.

    Raises
    ------
    ServiceUnavailable, OSError, ArchiveError
        What is left is found by the next one.
    """
    changes = tools.changes.open_changes()
    for change in changes:
        finish(tools, change)
    return len(changes)


def finish_if_possible(tools: WritingTools, change: Change) -> None:
    """Finish or undo a change; when that does not work now, it is left for whoever opens the archive next."""
    try:
        finish(tools, change)
    except (OSError, RelayError) as error:
        kind = getattr(error, "strerror", None) or type(error).__name__
        _log.warning("a change of the archive is left for later", change_id=change.id, reason=kind)


def finish(tools: WritingTools, change: Change) -> None:
    """Finish or undo a change. Raises ServiceUnavailable, OSError, ArchiveError: then it is still written down."""
    if change.facts["kind"] == REPLACE:
        _undo_replacement(tools, change)
        return
    record: dict[str, Any] | None = change.facts.get("record")
    if record is not None:
        _write_record(tools, change.id, record)
    paths: list[str] = change.facts["paths"]
    for start in range(0, len(paths), _TOGETHER):
        some = paths[start : start + _TOGETHER]
        with tools.changes.exclusive() as section:
            _delete_unlisted(tools, section, some)
    # Before the change is forgotten: a power cut would bring back what nobody deletes again, and a rebuild serve it.
    tools.storage.flush_deletions(paths)
    with tools.changes.exclusive() as section:
        section.end(change)
    _remove_empty_folders(tools, paths)


def _delete_unlisted(tools: WritingTools, section: Section, paths: Sequence[str]) -> None:
    listed = section.listed(paths)
    for path in paths:
        if path not in listed:
            tools.storage.delete(path)


def _undo_replacement(tools: WritingTools, change: Change) -> None:
    """With the commit it is gone, so it was not done: whoever has the row has his file back.

    Raises ServiceUnavailable where its row changes as fast as it is looked at.
    """
    for _ in range(_TURNS):
        if _is_undone(tools, change):
            return
    raise ServiceUnavailable("an instance is being changed by others")


def _is_undone(tools: WritingTools, change: Change) -> bool:
    """What takes time is done before the section; False when the row is another one in it."""
    uid, path, copy = (str(change.facts[name]) for name in ("uid", "path", "copy"))
    held = tools.changes.held(uid)
    with ExitStack() as stack:
        ready: Replacing | None = None
        if copy and held is not None and held.relative_path == path and not _is_whole(tools, held, path):
            ready = _ready_from(copy, held, tools, stack)
        with tools.changes.exclusive() as section:
            if not section.has(change):
                return True
            if section.held([uid]).get(uid) != held:
                return False
            if ready is not None:
                ready.put(path)
                ready.settle()
            if copy:
                _delete_unlisted(tools, section, [copy])
            section.end(change)
    if copy:
        _remove_empty_folders(tools, [copy])
    return True


def _ready_from(copy: str, held: StoredInstance, tools: WritingTools, stack: ExitStack) -> Replacing | None:
    """The copy, ready to take the place of what is there; None when it is not whole either."""
    if not _is_whole(tools, held, copy):
        return None
    source = stack.enter_context(tools.storage.fetch(copy))
    ready = stack.enter_context(tools.storage.replacing())
    ready.add(held.relative_path, Put(source, held.digest, held.data_set_offset))
    for error in ready.flush().values():
        raise error
    return ready


def _is_whole(tools: WritingTools, held: StoredInstance, path: str) -> bool:
    there = tools.storage.stat(path)
    if there is None or there.size_bytes != held.file_bytes:
        return False
    return tools.storage.digest(path, held.data_set_offset) == held.digest


def _write_record(tools: WritingTools, change_id: str, record: dict[str, Any]) -> None:
    """The tombstones as a file, durable, for a rebuild."""
    target = tools.layout.resolve(Layout.removal(change_id))
    if target.exists():
        return
    tools.disk.make_directory(target.parent)
    tools.disk.sync_directory(target.parent.parent)
    temporary = temporary_name(target)
    try:
        tools.disk.write(temporary, json.dumps(record, indent=1).encode())
        tools.disk.replace(temporary, target)
    except OSError:
        tools.disk.remove(temporary)
        raise
    tools.disk.sync_directory(target.parent)


def _remove_empty_folders(tools: WritingTools, paths: Sequence[str]) -> None:
    if isinstance(tools.storage, LocalStorage):
        for folder in dict.fromkeys(tools.layout.resolve(path).parent for path in paths):
            remove_empty_folders(tools.layout, folder)


def recover_if_possible(tools: WritingTools) -> None:
    """Finish or undo what others left; where this process cannot write it is left to the next."""
    try:
        recovered = recover(tools)
    except (OSError, RelayError) as error:
        kind = getattr(error, "strerror", None) or type(error).__name__
        _log.warning("changes of the archive are left for later", reason=kind)
        return
    if recovered:
        _log.info("changes of the archive that were left were finished or undone", changes=recovered)
