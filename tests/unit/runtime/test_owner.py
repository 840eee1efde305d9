"""Whether the holder of a lease lives: real processes of this machine, and names of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomrelay.runtime import owner
from dicomrelay.runtime.owner import is_gone, own_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")

_SAYS_ITS_NAME = "import signal\nfrom dicomrelay.runtime.owner import own_name\nprint(own_name(), flush=True)\nsignal.pause()\n"


@contextmanager
def _process(*before: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that waits, and its name by its own word."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", _SAYS_ITS_NAME], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _wait(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        os.sched_yield()
        signal.sigtimedwait([], 0.01)
    pytest.fail("it did not come about within ten seconds")


def test_a_process_lives_until_it_is_killed_and_then_is_gone() -> None:
    """Also while its parent has not asked for it, and never while it only stands still."""
    with _process() as (process, name):
        assert not is_gone(name)
        process.send_signal(signal.SIGSTOP)
        _wait(lambda: _state(process.pid) == "T")
        assert not is_gone(name)
        process.kill()
        _wait(lambda: _state(process.pid) == "Z")
        assert is_gone(name)
        process.wait()
        assert is_gone(name)


def test_names_of_two_processes_differ_and_of_one_they_do_not() -> None:
    """A fork has a name of its own."""
    mine = own_name()
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.write(write_end, own_name().encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    assert mine == own_name()
    assert theirs.rpartition("/")[0] != mine.rpartition("/")[0]
    assert is_gone(theirs)
    assert not is_gone(mine)


def test_a_pid_that_was_used_again_is_another_process() -> None:
    """Its first holder is gone although a process of that pid lives; that one is not."""
    head, _, start = own_name().rpartition("/")
    assert is_gone(f"{head}/{int(start) - 1}")
    assert not is_gone(f"{head}/{start}")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_of_another_host_boot_or_container_nobody_knows(part: int) -> None:
    """Whatever their pid: here there is no such process, there it may live."""
    with _process() as (process, name):
        process.kill()
        process.wait()
        parts = name.split("/")
        parts[part] += "1"
        assert is_gone(name)
        assert not is_gone("/".join(parts))


@pytest.mark.parametrize("name", ["", "runner", "host/1", "host/-/-/1/-", "///999999/1"])
def test_a_name_of_another_form_is_nobody_of_ours(name: str) -> None:
    """Of a version before, or of a test."""
    assert not is_gone(name)
    here = own_name().rsplit("/", 2)[0]
    assert not is_gone(f"{here}/{name}")
    assert not is_gone(f"{here}/999999999999999999999999/1")


def test_a_process_of_another_pid_namespace_is_not_told_to_be_gone() -> None:
    """A container of the same name, whose processes count from 1: killed or not, its leases end by themselves."""
    within = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    try:
        able = subprocess.run([*within, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("PID namespaces cannot be made here")
    with _process(*within) as (process, name):
        host, boot, namespace, _, _ = name.split("/")
        mine = own_name().split("/")
        assert [host, boot] == mine[:2]
        assert namespace != mine[2]
        assert not is_gone(name)
        process.kill()
        process.wait()
        assert not is_gone(name)


def test_without_proc_nobody_is_told_to_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system, or a /proc of another namespace."""
    with _process() as (process, name):
        process.kill()
        process.wait()
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    owner._name_of.cache_clear()
    try:
        assert own_name().endswith(f"/{os.getpid()}/-")
        assert not is_gone(name)
        (tmp_path / "self").symlink_to("1234567")
        assert not is_gone(name)
    finally:
        owner._name_of.cache_clear()


def test_a_process_that_proc_hides_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hidepid`: there is nothing to read of it, and it takes signals all the same."""
    with _process() as (process, name):
        for path in ("self", "sys"):
            (tmp_path / path).symlink_to(Path("/proc") / path)
        (tmp_path / "self").unlink()
        (tmp_path / "self").symlink_to(Path("/proc") / str(os.getpid()))
        monkeypatch.setattr(owner, "_PROC", tmp_path)
        assert not is_gone(name)
        process.kill()
        process.wait()
        assert is_gone(name)
