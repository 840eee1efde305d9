"""`dicomrelay viewer install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError
from dicomrelay.runtime import home

_NPM_TIMEOUT_S: Final = 20


@relay_command(
    about="Install a viewer beside the one that is built in: `ohif`. It is checked by its SHA-512 before it is unpacked.",
    examples="dicomrelay viewer install ohif\n"
    "dicomrelay viewer install ohif --file ohif-app-3.13.2.tgz\n"
    "dicomrelay viewer install ohif --registry https://npm.example",
    audited=Audited("viewer.install"),
)
@click.argument("name", type=click.Choice(["ohif"]))
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="The npm package as a file (`npm pack @ohif/app@3.13.2` makes it).",
)
@click.option("--url", help="The npm package at a URL.")
@click.option("--registry", help="An npm registry.  [default: npm_config_registry, else what npm says]")
@click.option("--version", help="The version of @ohif/app.  [default: the one whose digest is known]")
@click.option(
    "--sha512", help="The digest that the package must have, in hexadecimal.  [default: the known one]"
)
def command(
    invocation: Invocation,
    /,
    name: str,
    file: Path | None,
    url: str | None,
    registry: str | None,
    version: str | None,
    sha512: str | None,
) -> None:
    from streamer.viewer import ohif_install  # noqa: PLC0415 - a service is imported where it runs

    if sum(given is not None for given in (file, url, registry)) > 1:
        raise ConfigurationError("give one of --file, --url and --registry")
    home.prepare(invocation.settings)
    wanted = version or ohif_install.VERSION
    viewers = invocation.settings.path("viewers")
    if file is not None:
        found = ohif_install.install(viewers, file, version=wanted, sha512=sha512)
    else:
        source = url or ohif_install.tarball_url(registry or _registry(), wanted)
        invocation.say(f"fetching {source}")
        with tempfile.TemporaryDirectory(prefix="dicomrelay-ohif-") as folder:
            package = Path(folder) / f"ohif-app-{wanted}.tgz"
            ohif_install.download(source, package)
            found = ohif_install.install(viewers, package, version=wanted, sha512=sha512)
    total = sum(each["bytes"] for each in found["files"].values())
    invocation.say(
        f"{name} {found['version']}: {len(found['files'])} files, {total / 1e6:.0f} MB; the streamer has it at /ohif/"
    )
    if invocation.as_json:
        invocation.emit(
            {"viewer": name, "version": found["version"], "files": len(found["files"]), "bytes": total}
        )


def _registry() -> str:
    """The npm registry of this machine. Raises ConfigurationError where nobody said one."""
    said = os.environ.get("npm_config_registry")  # noqa: SIM112 - npm's name for it
    npm = shutil.which("npm")
    if not said and npm:
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [npm, "config", "get", "registry"],
                capture_output=True,
                text=True,
                timeout=_NPM_TIMEOUT_S,
                check=False,
            )
            said = done.stdout.strip()
    if not said or not said.startswith(("http://", "https://")):
        raise ConfigurationError("from where: give --registry, --url or --file, or set npm_config_registry")
    return said
