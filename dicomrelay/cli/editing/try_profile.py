"""`dicomrelay edits try`."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
from pydicom.datadict import keyword_for_tag

from dicomrelay.cli.files import DicomFile, read
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.delivery.editing import EditBench, EditedCopy
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.edits import profile
from dicomrelay.errors import ConfigurationError, ExitCode, NotDicom
from dicomrelay.transcode import Source

_CHUNK_BYTES = 1 << 20


@relay_command(
    about="What the profile NAME does to FILE: each element that becomes another, without values. With --output, the copy as a "
    "destination would get it, in a Part 10 file. Exit code 1 when the profile cannot be applied, or forbids "
    "that the file goes out.",
    examples="dicomrelay edits try research ct.dcm\ndicomrelay edits try research ct.dcm --output copy.dcm\n"
    "dicomrelay edits try research ct.dcm --json",
    private=False,
)
@click.argument("name")
@click.argument("file", type=GivenPath(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "-o",
    "--output",
    type=GivenPath(path_type=Path, dir_okay=False),
    help="Where the copy goes; it must not be there.",
)
def command(invocation: Invocation, /, name: str, file: Path, output: Path | None) -> int:
    if output is not None:
        refuse_own_folders(invocation.settings, output, config=invocation.config)
        if output.exists():
            raise ConfigurationError(f"--output {output}: is there, and stays as it is: name another file")
    wanted = profile(invocation.settings, name)
    found = read(file)
    if not isinstance(found, DicomFile):
        raise NotDicom(f"{file} {found.reason}")
    source = Source(file, found.data_set_offset, found.data_set_bytes, found.transfer_syntax_uid)
    with tempfile.TemporaryDirectory(prefix="dicomrelay-edits-") as folder, EditBench(Path(folder)) as bench:
        at_ms = int(file.stat().st_mtime * 1000)
        edited = bench.edit(source, [wanted], at_ms=at_ms)
        if output is not None:
            _write(output, found, edited)
    if invocation.as_json:
        invocation.emit(
            {
                "profile": wanted.title,
                "sop_instance_uid": edited.sop_instance_uid,
                "digest": edited.copy.digest if edited.copy is not None else "",
                "changes": edited.changes,
            }
        )
        return ExitCode.OK
    for line in _lines(edited.changes):
        click.echo(line)
    counts = Counter(change.rpartition(" ")[2] for change in edited.changes)
    said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    invocation.say(f"{wanted.title}: {said or 'nothing to change: what arrived is sent'}")
    return ExitCode.OK


def _lines(changes: tuple[str, ...]) -> Iterator[str]:
    for change in changes:
        place, _, done = change.rpartition(" ")
        numbers = place.rpartition(".")[2].strip("()").replace(",", "")
        keyword = keyword_for_tag(int(numbers, 16)) if numbers else ""
        yield f"{done:9} {place}  {keyword}".rstrip()


def _write(output: Path, found: DicomFile, edited: EditedCopy) -> None:
    copy = edited.copy
    path, offset = (found.path, found.data_set_offset) if copy is None else (copy.path, 0)
    meta = FileMeta(
        sop_class_uid=found.sop_class_uid,
        sop_instance_uid=edited.sop_instance_uid,
        transfer_syntax_uid=found.transfer_syntax_uid,
    )
    with path.open("rb") as source, output.open("xb") as out:
        out.write(encode_file_meta(meta))
        source.seek(offset)
        while chunk := source.read(_CHUNK_BYTES):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
