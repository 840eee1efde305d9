"""`dicomrelay conformance`."""

from __future__ import annotations

import click

from dicomrelay import __version__
from dicomrelay.cli.conforming import statement
from dicomrelay.cli.conforming.registries import served
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, VERIFICATION
from dicomrelay.errors import ExitCode

_PAGES = "https://github.com/dicomrelay/dicomrelay/blob/main/docs/"


@relay_command(
    about="The DICOM Conformance Statement of this installation, as Markdown, in the sections of PS3.2 Annex N: what is served, "
    "what is off, AE title, ports, limits, who may call, where it goes, as the settings have it. No secret is in it.",
    examples="dicomrelay conformance > conformance.md\n"
    "dicomrelay conformance --config /etc/dicomrelay/relay.toml\n"
    "dicomrelay conformance --json",
)
def command(invocation: Invocation) -> int:
    settings = invocation.settings
    if invocation.as_json:
        invocation.emit(
            {
                "version": __version__,
                "ae_title": settings.gateway.ae_title,
                "implementation_class_uid": IMPLEMENTATION_CLASS_UID,
                "implementation_version_name": IMPLEMENTATION_VERSION_NAME,
                "services": {
                    VERIFICATION: None,
                    **{uid: right.value for uid, right in served(settings).items()},
                },
                "storage_sop_classes": [*storage_sop_classes(), *settings.gateway.private_sop_classes],
                "transfer_syntaxes": list(transfer_syntaxes()),
            }
        )
        return ExitCode.OK
    subject = f"of the settings of {settings.gateway.ae_title}"
    click.echo(statement.statement(settings, subject=subject, pages_at=_PAGES), nl=False)
    return ExitCode.OK
