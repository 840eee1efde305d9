"""What this process does to the machine, seen from Python's own audit events: files that are made, programs that are run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

# Programs, and code that is made of text (https://docs.python.org/3/library/audit_events.html).
_RUNS: Final = frozenset(
    {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork",
     "os.forkpty", "pty.spawn", "code.__new__"}
)  # fmt: skip
_MAKES: Final = frozenset(
    {"os.mkdir", "os.link", "os.symlink", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod",
     "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile", "tempfile.mkstemp", "tempfile.mkdtemp"}
)  # fmt: skip
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """What was seen while the block ran.

    Attributes
    ----------
    runs : list of str
        Programs that were started.
    touched : list of Path
        Files and folders that were opened for writing, made, renamed or removed by name; not by a descriptor of a
        folder, whose names have no path.
    """

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.touched: list[Path] = []
        self.is_on = False

    def outside(self, *folders: Path) -> list[Path]:
        """What was touched elsewhere."""
        roots = [folder.resolve() for folder in folders]
        return [
            path
            for path in self.touched
            if not any(path.resolve().is_relative_to(root) for root in roots) and path != Path(os.devnull)
        ]

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event."""
        if event in _RUNS:
            self.runs.append(f"{event} {arguments[:1]!r}")
        elif event == "open":
            path, mode, flags = arguments
            if isinstance(path, str | bytes | os.PathLike) and (
                (isinstance(flags, int) and flags & _WRITES)
                or (isinstance(mode, str) and set(mode) & set("wax+"))
            ):
                self._add(path)
        elif event == "sqlite3.connect":
            self._add(str(arguments[0]).removeprefix("file:").partition("?")[0])
        elif event in _MAKES:
            for each in arguments[:2]:
                if isinstance(each, str | bytes | os.PathLike):
                    self._add(each)

    def _add(self, path: str | bytes | os.PathLike[str]) -> None:
        self.touched.append(Path(os.fsdecode(path)).absolute())


_watching: list[Watch] = []
_is_hooked = False


@contextmanager
def watched() -> Iterator[Watch]:
    """Look, until the block ends. A hook stays for as long as the process lives, and does nothing after it."""
    global _is_hooked  # noqa: PLW0603 - there is no way to take a hook away
    if not _is_hooked:
        sys.addaudithook(
            lambda event, arguments: [each.note(event, arguments) for each in _watching] and None
        )
        _is_hooked = True
    watch = Watch()
    _watching.append(watch)
    try:
        yield watch
    finally:
        _watching.remove(watch)
