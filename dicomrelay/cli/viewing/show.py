"""`dicomrelay viewer show`."""

from __future__ import annotations

from dicomrelay.cli.options import Invocation, relay_command


@relay_command(
    about="Which viewers there are, and where.",
    examples="dicomrelay viewer show\ndicomrelay viewer show --json",
)
def command(invocation: Invocation, /) -> None:
    from streamer.viewer import files, ohif_install  # noqa: PLC0415 - a service is imported where it runs

    found = ohif_install.installed(invocation.settings.path("viewers"))
    invocation.say(f"built in  at /       {len(files.manifest().get('files', {}))} files")
    invocation.say(f"ohif      at /ohif/  {found['version']}" if found else "ohif      not installed")
    if invocation.as_json:
        invocation.emit({"built_in": bool(files.manifest()), "ohif": found["version"] if found else None})
