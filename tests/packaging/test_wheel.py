"""The wheel: what is in it, by either way of building it, and that it runs where only the wheel is installed.

Everything runs with `python -P`, so that the folder the tests run in never stands before the installed wheel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from dicomrelay import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = {"dicomrelay", "scp_gateway", "workers", "archive", "streamer", "monitor"}
DIST_INFO = f"dicomrelay-{__version__}.dist-info"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The finished process; its words are in the failure when it does not end with 0."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DICOMRELAY_", "PYTHON"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def build(source: Path, target: Path, kind: str) -> Path:
    """The one file that the build front end makes, from the build tools at hand, without the network."""
    run(
        sys.executable,
        "-P",
        "-m",
        "build",
        "--no-isolation",
        f"--{kind}",
        "--outdir",
        target,
        source,
        cwd=target,
    )
    (made,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is released: built from the unpacked sdist."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return build(source, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a venv that holds the wheel, and sees the dependencies of the venv that runs the tests.

    The dependencies come by a path that is added last and whose own .pth files are not read: the editable install
    of the checkout is such a file.
    """
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(
        *(
            sys.executable,
            "-P",
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ),
        *("--no-deps", "--no-index", wheel),
        cwd=home,
    )
    (site_packages,) = home.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def contents(wheel: Path) -> dict[str, int]:
    """CRC of every file; RECORD lists the others, so it agrees when they do."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def tracked_files() -> set[str]:
    """Files of our packages that stand in the tree, without what Python leaves behind."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_installs_our_six_packages_and_nothing_else(wheel: Path) -> None:
    """The top-level names are exactly ours, and the record of the installation."""
    assert {name.split("/")[0] for name in names(wheel)} == PACKAGES | {DIST_INFO}


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """No module, marker, page or migration is lost on the way through the sdist."""
    assert {name for name in names(wheel) if not name.startswith(DIST_INFO)} == tracked_files()


def test_the_wheel_is_the_same_from_the_sdist_and_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    """Both ways of building give equal contents."""
    assert contents(wheel) == contents(build(ROOT, tmp_path, "wheel"))


def test_every_package_says_that_it_is_typed(wheel: Path) -> None:
    """Type checkers of others believe our annotations."""
    assert {f"{package}/py.typed" for package in PACKAGES} <= names(wheel)


def test_the_migrations_of_both_databases_are_in_the_wheel(wheel: Path) -> None:
    """An installed dicomrelay can make its ledger and its archive's index: environment and first version are there."""
    for package in ("dicomrelay/ledger", "archive"):
        found = {name for name in names(wheel) if name.startswith(f"{package}/migrations/")}

        assert f"{package}/migrations/env.py" in found
        assert any(name.startswith(f"{package}/migrations/versions/0001") for name in found)


def test_the_sdist_holds_no_data_and_no_environment(sdist: Path) -> None:
    """What is made by running or developing stays at home."""
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}

    assert top <= PACKAGES | {
        "deploy",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "pyproject.toml",
        "PKG-INFO",
        ".gitignore",
    }


def test_no_other_distribution_owns_one_of_our_names(installed: Path, tmp_path: Path) -> None:
    """Three of our names are generic: nothing that we depend on brings a package of the same name."""
    script = "import importlib.metadata, json; print(json.dumps(importlib.metadata.packages_distributions()))"

    owners = json.loads(run(installed, "-P", "-c", script, cwd=tmp_path).stdout)

    assert "celery" in owners, "the dependencies are not in sight, so that the comparison would be empty"
    assert {name: set(owners[name]) for name in PACKAGES} == {name: {"dicomrelay"} for name in PACKAGES}


def test_the_installed_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    """Each package is imported from the wheel's venv, not from the checkout."""
    script = (
        f"import importlib\nfor name in {sorted(PACKAGES)}: print(importlib.import_module(name).__file__)"
    )

    lines = run(installed, "-P", "-c", script, cwd=tmp_path).stdout.splitlines()

    assert len(lines) == len(PACKAGES)
    assert all(Path(line).is_relative_to(installed.parents[1]) for line in lines), lines


def test_every_module_of_the_installed_wheel_can_be_imported(installed: Path, tmp_path: Path) -> None:
    """No module needs anything that lies only in the checkout; migrations are run by Alembic, not imported."""
    script = f"""
import importlib, pkgutil
for name in {sorted(PACKAGES)}:
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""
    run(installed, "-P", "-W", "ignore", "-c", script, cwd=tmp_path)


@pytest.mark.parametrize(
    "command", [["-m", "dicomrelay"], ["{bin}/dicomrelay"]], ids=["python -m dicomrelay", "dicomrelay"]
)
def test_the_installed_wheel_says_its_version_and_help(
    command: list[str], installed: Path, tmp_path: Path
) -> None:
    """Both ways to start it answer with the version of the wheel, and with the commands."""
    start: list[str | Path] = [installed, "-P", *(word.format(bin=installed.parent) for word in command)]

    version = run(*start, "--version", cwd=tmp_path).stdout
    words = run(*start, "--help", cwd=tmp_path).stdout

    assert __version__ in version
    assert {"up", "demo", "send"} <= set(words.split())
