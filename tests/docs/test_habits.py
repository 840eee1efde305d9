"""The tools of our habits work: changelog fragments, hooks, and the check of a fresh machine."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from dicomrelay import __version__
from tests.support.markdown import ROOT

BIN = Path(sys.executable).parent
FRAGMENTS = sorted(path for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md")
CI_RUN = ROOT / ".ci" / "run"


def test_every_fragment_has_a_kind_and_a_sentence() -> None:
    """A fragment with a misspelt kind would be left out of the changelog without a word."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    kinds = {kind["directory"] for kind in project["tool"]["towncrier"]["type"]}

    for path in FRAGMENTS:
        assert re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(kinds)})\.md", path.name), path.name
        assert path.read_text("utf-8").strip().endswith("."), path.name


def test_the_changelog_of_the_next_version_can_be_written() -> None:
    """Towncrier puts the text of every fragment under its heading."""
    done = subprocess.run(
        [BIN / "towncrier", "build", "--draft", "--version", __version__],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    words = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode == 0, done.stderr
    assert f"## [{__version__}] - " in words
    assert all(re.sub(r"\s+", " ", path.read_text("utf-8").strip()) in words for path in FRAGMENTS)


def test_the_changelog_has_the_place_where_releases_go() -> None:
    """Without the marker towncrier would put a release above the introduction."""
    assert (ROOT / "CHANGELOG.md").read_text("utf-8").count("<!-- towncrier release notes start -->") == 1


def test_the_hooks_are_valid_and_use_what_make_check_uses() -> None:
    """pre-commit accepts the file; every hook is local, and every tool of `make check` has one."""
    file = ROOT / ".pre-commit-config.yaml"
    done = subprocess.run(
        [BIN / "pre-commit", "validate-config", file], capture_output=True, text=True, check=False
    )
    repositories = yaml.safe_load(file.read_text("utf-8"))["repos"]
    entries = [hook["entry"].split()[0] for repository in repositories for hook in repository["hooks"]]
    check = (ROOT / "Makefile").read_text("utf-8").split("\ncheck:")[1].split("\n\n")[0]

    assert done.returncode == 0, done.stdout
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {f".venv/bin/{tool}" for tool in re.findall(r"\$\(BIN\)/([\w-]+)", check)} <= set(entries)


class FreshMachine:
    """A PATH with nothing on it but what is put there; the programs only write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.calls = folder / "calls"
        self.path.mkdir()
        self.calls.touch()
        for name in ("bash", "dirname", "env"):
            found = shutil.which(name)
            assert found
            (self.path / name).symlink_to(found)
        self.add("sudo", 'shift; exec "$@"')

    def add(self, name: str, does: str = "") -> None:
        program = self.path / name
        program.write_text(f'#!/usr/bin/env bash\necho "{name} $* CI=$CI" >> "{self.calls}"\n{does}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def run(self) -> tuple[int, list[str]]:
        environment = {"PATH": str(self.path), "HOME": os.environ.get("HOME", "/")}
        done = subprocess.run(
            [CI_RUN], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        lines = self.calls.read_text().splitlines()
        return done.returncode, [line for line in lines if line.startswith(("apt-get", "make"))]


@pytest.fixture
def machine(tmp_path: Path) -> FreshMachine:
    made = FreshMachine(tmp_path)
    tools = (
        "make",
        "storescu",
        "storescp",
        "initdb",
        "eatmydata",
        "strace",
        "ip",
        "mkfs.ext4",
        "redis-server",
        "promtool",
        "systemd-analyze",
        "wrk",
        "nginx",
        "chromium",
        "chromedriver",
        "python3",
        "apt-get",
    )
    for name in tools:
        made.add(name)
    return made


def test_ci_runs_tests_site_and_audit_and_nothing_else_where_all_is_there(machine: FreshMachine) -> None:
    """Nothing is installed, CI is set, and the three commands run."""
    assert machine.run() == (
        0,
        [
            "make test PYTHON=python3 CI=true",
            "make docs PYTHON=python3 CI=true",
            "make audit PYTHON=python3 CI=true",
        ],
    )


def test_ci_fails_when_the_tests_fail(machine: FreshMachine) -> None:
    """The exit code of `make test` is not lost."""
    machine.add("make", "exit 2")

    code, _ = machine.run()

    assert code == 2


def test_ci_installs_what_is_missing_first(machine: FreshMachine) -> None:
    """Only the missing package, after the lists were updated."""
    (machine.path / "storescp").unlink()

    code, calls = machine.run()

    assert code == 0
    assert [call.split(" CI=")[0] for call in calls] == [
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends dcmtk",
        "make test PYTHON=python3",
        "make docs PYTHON=python3",
        "make audit PYTHON=python3",
    ]


def test_ci_stops_when_something_cannot_be_installed(machine: FreshMachine) -> None:
    """Tests without their services would only seem to pass."""
    (machine.path / "storescp").unlink()
    machine.add("apt-get", "exit 100")

    code, calls = machine.run()

    assert code == 100
    assert not any(call.startswith("make") for call in calls)
