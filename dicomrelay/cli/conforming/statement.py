"""The statement: a template, `statement.md`, whose gaps are filled from the registries and the settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from operator import attrgetter
from typing import Final

from dicomrelay import __version__
from dicomrelay.cli.conforming import answers, here, registries
from dicomrelay.cli.conforming.cells import switched
from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uids import (
    APPLICATION_CONTEXT_NAME,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from dicomrelay.net.proposal import MAX_PDU_BYTES
from dicomrelay.settings import Settings
from scp_gateway.negotiation import STORAGE_SUPPORT

Fill = Callable[[Settings], str]
_GAP: Final = re.compile(r"\{\{([a-z_.]+)\}\}")
_HEADING: Final = re.compile(r"^(#{2,3}) (.+)$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\((\.\./|)([a-z-]+(?:/[a-z-]+)?\.md)(#[a-z0-9-]+)?\)")
FILLS: Final[Mapping[str, Fill]] = {
    "version": lambda _: __version__,
    "sop_class_count": lambda _: str(len(storage_sop_classes())),
    "transfer_syntax_count": lambda _: str(len(transfer_syntaxes())),
    "implementation_class_uid": lambda _: IMPLEMENTATION_CLASS_UID,
    "implementation_version_name": lambda _: IMPLEMENTATION_VERSION_NAME,
    "application_context": lambda _: APPLICATION_CONTEXT_NAME,
    "max_pdu_as_requestor": lambda _: here.number(MAX_PDU_BYTES),
    "storage_support": lambda _: STORAGE_SUPPORT.hex(),
    "sop_class_categories": registries.sop_class_categories,
    "sop_classes": registries.sop_classes,
    "transfer_syntax_categories": registries.transfer_syntax_categories,
    "transfer_syntax_list": registries.transfer_syntax_list,
    "accepted_contexts": registries.accepted_contexts,
    "query_information_models": registries.query_information_models,
    "query_keys": registries.query_keys,
    "looked_up": registries.looked_up,
    "rejections": answers.rejections,
    "store_statuses": answers.store_statuses,
    "statuses_of_peers": answers.statuses_of_peers,
    "report_answers": answers.report_answers,
    "failure_reasons": answers.failure_reasons,
    "dimse_services": here.dimse_services,
    "web_services": here.web_services,
    "limits": here.limits,
    "query_bounds": here.query_bounds,
    "listeners": here.listeners,
    "callers": here.callers,
    "called": here.called,
}


@cache
def template() -> str:
    """With its gaps: `{{name}}` of `FILLS`, or `{{section.key}}` of the settings."""
    return files("dicomrelay.cli.conforming").joinpath("statement.md").read_text("utf-8")


def gaps() -> Iterator[str]:
    """The names of the template's gaps, in order."""
    return (match[1] for match in _GAP.finditer(template()))


def statement(settings: Settings, *, subject: str, pages_at: str = "") -> str:
    """The statement of an installation.

    Parameters
    ----------
    settings : Settings
        What it does and listens on; secrets are not among what is read.
    subject : str
        Of what settings it is, for its head.
    pages_at : str
        Where the project's pages are, ending in a slash, for links that hold wherever the statement is read; "" leaves
        them as they are between the pages.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name == "subject":
            return subject
        if name == "contents":
            return _contents()
        return FILLS[name](settings) if name in FILLS else _value(attrgetter(name)(settings))

    filled = _GAP.sub(fill, template())
    if not pages_at:
        return filled
    return _LINK.sub(
        lambda match: f"]({pages_at}{'' if match[1] else 'reference/'}{match[2]}{match[3] or ''})", filled
    )


def _contents() -> str:
    """The headings of two levels, with links to them."""
    lines = []
    for marks, text in _HEADING.findall(template()):
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        lines.append(f"{'  ' * (len(marks) - 2)}- [{text}](#{anchor})")
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return switched(value)
    return here.number(value) if isinstance(value, int | float) else str(value)
