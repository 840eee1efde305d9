"""Instances that rules are asked about on the command line: of a file, or of what the ledger knows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dicomrelay.cli.files import DicomFile, read
from dicomrelay.errors import ConfigurationError, ServiceUnavailable, SpoolError
from dicomrelay.ledger.values import InstanceFacts
from dicomrelay.ledger.values_decisions import InstanceDecision
from dicomrelay.routing.facts import Facts
from dicomrelay.routing.rules import RuleSet
from dicomrelay.settings import Settings
from dicomrelay.spool.layout import Layout


def facts_of_file(path: Path, rules: RuleSet, *, source: str, called: str, address: str) -> Facts:
    """What the rules would be told of a file that came from somebody.

    Raises
    ------
    ConfigurationError
        It cannot be read, or is no DICOM file.
    """
    try:
        found = read(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(found, DicomFile):
        raise ConfigurationError(f"{path}: {found.reason}")
    return Facts(
        modality=found.modality,
        source_ae_title=source,
        called_ae_title=called,
        sop_class_uid=found.sop_class_uid,
        transfer_syntax_uid=found.transfer_syntax_uid,
        peer_address=address,
        data_set_bytes=found.data_set_bytes,
        attributes=_attributes(path, found.data_set_offset, found.transfer_syntax_uid, rules),
    )


def _attributes(path: Path, offset: int, syntax: str, rules: RuleSet) -> dict[int, tuple[str, ...]]:
    if not rules.tags:
        return {}
    # Here, for it brings pydicom with it, and most rules ask for nothing in the data set.
    from workers.attributes import read_attributes  # noqa: PLC0415

    return read_attributes(path, data_set_offset=offset, transfer_syntax_uid=syntax, tags=rules.tags)


class Bytes:
    """Reads what rules ask for from the bytes of instances, as far as they are in this home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = Layout(settings.path("spool"))

    def __call__(self, each: InstanceDecision, rules: RuleSet, stored: Facts) -> Facts | None:
        """The stored facts with what the bytes say; None where they are elsewhere, gone, or cannot be read now."""
        path = self._path(each.facts)
        if path is None:
            return None
        try:
            attributes = _attributes(path, each.facts.data_set_offset, stored.transfer_syntax_uid, rules)
        except ServiceUnavailable:
            return None
        return dataclasses.replace(stored, attributes=attributes, recorded=None)

    def _path(self, facts: InstanceFacts) -> Path | None:
        if facts.source_path and Path(facts.source_path).is_file():
            return Path(facts.source_path)
        if facts.archive_path and self._settings.archive.url is None:
            path = self._settings.archive_path / facts.archive_path
            if path.is_file():
                return path
        if facts.released:
            return None
        try:
            return self._layout.find(facts.spool_id)
        except SpoolError:
            return None
