"""The programs of others: where they are, and which packages have them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

# Program to Debian package; pynetdicom comes with our own lock file.
PACKAGES = {"storescu": "dcmtk", "storescp": "dcmtk", "dcmqrscp": "dcmtk", "Orthanc": "orthanc"}


class RunFailed(Exception):
    """No figure can be had: something died, was lost, or is missing."""


def find(program: str) -> str | None:
    """Where a program is; Debian puts Orthanc where services are."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def missing_packages(programs: Iterable[str] = PACKAGES) -> list[str]:
    """The packages of the programs that are not there."""
    return sorted({PACKAGES[program] for program in programs if find(program) is None})


def require(programs: Iterable[str]) -> None:
    """Refuse to go on without some programs.

    Raises
    ------
    RunFailed
        One is missing; says which packages to install.
    """
    packages = missing_packages(programs)
    if packages:
        raise RunFailed(
            f"peers are missing: apt-get install {' '.join(packages)}, or say --install; --only-ours goes without them"
        )


def install() -> None:
    """Install what is missing with apt, as root or through sudo.

    Raises
    ------
    RunFailed
        It did not work.
    """
    packages = missing_packages()
    if not packages:
        return
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    command = [*as_root, "apt-get", "install", "-y", "--no-install-recommends", *packages]
    try:
        done = subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    except OSError as error:
        raise RunFailed(f"{command[0]}: {error.strerror}; install {' '.join(packages)} by hand") from None
    if done.returncode:
        raise RunFailed(f"{' '.join(command)}: exit {done.returncode}")
