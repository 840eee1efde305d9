"""A network of our own with a wire that can be cut without a word: a namespace, a veth pair, a bridge. Wants root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PREFIX: Final = "chaos"


def missing_network() -> str:
    """Why there can be no partition here; "" when there can."""
    if os.geteuid() != 0:
        return "needs root, to make a network namespace"
    if not shutil.which("ip"):
        return "ip (iproute2) is not installed"
    name = f"{_PREFIX}{os.getpid()}t"
    tried = [
        subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        for words in (
            ("netns", "add", name), ("link", "add", name, "type", "bridge"), ("link", "del", name), ("netns", "del", name),
        )
    ]  # fmt: skip
    failed = [each.stderr.strip() for each in tried if each.returncode]
    return f"no namespace or bridge can be made: {failed[0]}" if failed else ""


class Wire:
    """A namespace behind a bridge; commands with `prefix` in front run in it.

    A cut takes the wire's end off the bridge: frames vanish on both sides, no reset and no error comes back.

    Attributes
    ----------
    near, far : str
        Addresses of this machine and of the namespace.
    prefix : tuple of str
        Runs a command in the namespace.
    """

    def __init__(self) -> None:
        _clear_away_what_the_dead_left()
        self._name = f"{_PREFIX}{os.getpid()}"
        net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.near, self.far = f"{net}.1", f"{net}.2"
        self.prefix = ("ip", "netns", "exec", self._name)

    def __enter__(self) -> Self:
        name = self._name
        _ip("netns", "add", name)
        _ip("link", "add", f"{name}b", "type", "bridge")
        _ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
        self.mend()
        _ip("addr", "add", f"{self.near}/24", "dev", f"{name}b")
        for link in (f"{name}b", f"{name}v"):
            _ip("link", "set", link, "up")
        _ip("-n", name, "addr", "add", f"{self.far}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", name, "link", "set", link, "up")
        return self

    def cut(self) -> None:
        """From now on nothing passes."""
        _ip("link", "set", f"{self._name}v", "nomaster")

    def mend(self) -> None:
        """It passes again."""
        _ip("link", "set", f"{self._name}v", "master", f"{self._name}b")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ip("link", "del", f"{self._name}b")
        _ip("netns", "del", self._name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _clear_away_what_the_dead_left() -> None:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for name in (line.split(" ")[0] for line in listed.splitlines()):
        maker = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and maker.isdigit() and not Path(f"/proc/{maker}").exists():
            for words in (("link", "del", f"{name}b"), ("netns", "del", name)):
                subprocess.run(["ip", *words], capture_output=True, check=False)
