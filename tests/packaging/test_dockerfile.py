"""The Dockerfile: what it copies exists, what it installs is pinned, what it runs is not root.

Nothing here builds an image: that needs Docker, which the tests do not ask for. The installation itself (the lock file
with hashes, then the project without its dependencies) is what `make setup` does, and the wheel is tested beside this.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

from dicomrelay.cli.main import cli
from dicomrelay.runtime.home import FOLDERS
from tests.support.markdown import ROOT

HOME = "/var/lib/dicomrelay"


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, arguments) in order, comments left out and continued lines joined."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")
    ]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def final_stage() -> list[tuple[str, str]]:
    found = instructions()
    last = max(position for position, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def copied() -> list[str]:
    """What is copied from the project, as written."""
    return [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps it out: the last line that matches decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").split():
        pattern = line.removeprefix("!")
        if any(fnmatch.fnmatch(part.as_posix(), pattern) for part in [Path(path), *Path(path).parents][:-1]):
            ignored = not line.startswith("!")
    return ignored


def test_there_is_something_to_check() -> None:
    """The file is read as instructions: two stages, each from the smallest Python that we support."""
    assert [rest for word, rest in instructions() if word == "FROM"] == [
        "python:3.11-slim AS build",
        "python:3.11-slim",
    ]


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_exists_and_is_sent_to_the_build(source: str) -> None:
    """Each file or folder is in the project and not held back by .dockerignore."""
    assert (ROOT / source).exists()
    assert not is_ignored(source)


def test_data_and_environments_are_not_sent_to_the_build() -> None:
    """What lies about in a checkout does not reach the image."""
    assert all(is_ignored(name) for name in ("var", ".venv", ".git", "tests", ".env", "relay.toml"))


def test_every_package_of_the_wheel_is_copied() -> None:
    """None of the six is forgotten."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied())


def test_dependencies_are_checked_against_their_hashes() -> None:
    """Every pip installs from the lock file with hashes, or installs nothing but the project."""
    pips = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]

    assert len(pips) == 2
    assert "--require-hashes -r locks/runtime.txt" in pips[0]
    assert "--no-deps --no-build-isolation ." in pips[1]


def test_the_image_runs_as_a_plain_user() -> None:
    """The user is set by number, so that an orchestrator can see that it is not root, and owns the home."""
    users = [rest for word, rest in final_stage() if word == "USER"]
    made = next(rest for word, rest in final_stage() if word == "RUN")

    assert users == ["10001:10001"]
    assert "--uid 10001" in made
    assert all(f"dicomrelay/{folder}" in made for folder in FOLDERS)


def test_the_image_starts_one_of_our_commands_and_checks_its_health() -> None:
    """Without arguments it is `dicomrelay up`, in the home, and well while `up` says so."""
    stage = dict(final_stage())

    assert stage["ENTRYPOINT"] == '["dicomrelay"]'
    assert stage["CMD"] == '["up"]'
    assert "up" in cli.list_commands(None)  # type: ignore[arg-type]
    assert f"DICOMRELAY_HOME={HOME}" in stage["ENV"]
    assert f"{HOME}/run/ready" in stage["HEALTHCHECK"]
