"""The tables of docs/reference/conformance.md say what the code does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from dicomrelay.cli.conforming.registries import served
from dicomrelay.cli.conforming.statement import FILLS, gaps, statement
from dicomrelay.cli.main import cli
from dicomrelay.dicom import commitment, query_models
from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uids import (
    APPLICATION_CONTEXT_NAME,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from dicomrelay.dimse.commitment import MAX_REFERENCES, MAX_REPORT_BYTES
from dicomrelay.dimse.identifier_bounds import MAX_ELEMENTS
from dicomrelay.net import provider, stored
from dicomrelay.net.proposal import MAX_PDU_BYTES
from dicomrelay.net.replies import REPLIES
from dicomrelay.settings import DestinationSettings, GatewaySettings, QuerySettings, Settings
from scp_gateway import app, identity, reception
from scp_gateway.archive_port import indexed_attributes
from scp_gateway.negotiation import STORAGE_SUPPORT
from scp_gateway.query import beside
from scp_gateway.schedule_port import LazyPerformed
from tests.support import conformance_page
from tests.support.markdown import ROOT

PAGE = (ROOT / "docs" / "reference" / "conformance.md").read_text("utf-8")


def table(first_cell: str) -> list[list[str]]:
    """The rows of the table whose heading begins with that cell."""
    lines = iter(PAGE.splitlines())
    for line in lines:
        if line.startswith(f"| {first_cell} |"):
            next(lines)  # the rule below the heading
            rows = []
            for row in lines:
                if not row.startswith("|"):
                    return rows
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
    raise AssertionError(f"no table {first_cell!r}")


def test_sop_classes_by_category() -> None:
    found = Counter(each.category.value for each in storage_sop_classes().values())
    assert {row[0]: int(row[1]) for row in table("category")} == found
    assert f"{len(storage_sop_classes())} in all, are stored and transferred" in PAGE
    assert [row[1] for row in table("SOP class")] == sorted(
        storage_sop_classes(), key=lambda uid: [int(number) for number in uid.split(".")]
    )


def test_transfer_syntaxes_by_category() -> None:
    found = Counter(each.category.value for each in transfer_syntaxes().values())
    stated = PAGE[PAGE.index("| category | transfer syntaxes |") :].splitlines()[2 : 2 + len(found)]
    assert {row.split("|")[1].strip(): int(row.split("|")[2]) for row in stated} == found
    assert f"{len(transfer_syntaxes())} in all. `dicomrelay transfer-syntaxes`" in PAGE
    assert {row[1] for row in table("transfer syntax")} == set(transfer_syntaxes())


def test_who_we_say_we_are() -> None:
    assert IMPLEMENTATION_CLASS_UID in PAGE
    assert APPLICATION_CONTEXT_NAME in PAGE
    assert IMPLEMENTATION_VERSION_NAME.startswith("DICOMRELAY_")
    assert f"{GatewaySettings().max_pdu_bytes:,} bytes for the gateway" in PAGE
    assert f"{MAX_PDU_BYTES:,} as requestor" in PAGE
    assert f"`{STORAGE_SUPPORT.hex()}`" in PAGE


def test_limits_and_their_defaults() -> None:
    """The defaults are those of the settings that are named."""
    gateway = GatewaySettings()
    rows = table("limit")
    assert len(rows) == 8
    for _, default, setting in rows:
        section, _, name = setting.strip("`").partition(".")
        if section == "gateway":
            value = gateway.reserved_room if name == "reserved_associations" else getattr(gateway, name)
        else:
            value = DestinationSettings.model_fields[name].default
        assert float(default.split()[0]) == value, setting


def test_every_rejection_stands_there_and_no_other() -> None:
    rejections = {
        provider.ADDRESS_NOT_ADMITTED,
        provider.WRONG_APPLICATION_CONTEXT,
        provider.LOCAL_LIMIT_EXCEEDED,
        provider.NO_REASON_FOR_NOW,
        reception.CALLING_AE_TITLE_NOT_RECOGNISED,
        reception.CALLED_AE_TITLE_NOT_RECOGNISED,
        reception.NO_ROOM_FOR_THIS_PEER,
        identity.NOT_AUTHENTICATED,
        identity.TOO_MANY_FAILURES,
    }
    of_the_machine = {(1, 2, 2)}  # protocol version (PS3.8 Table 9-21), in ul
    stated = {tuple(map(int, row[1:])) for row in table("rejection")}
    assert stated == {(each.result, each.source, each.reason) for each in rejections} | of_the_machine


def test_statuses() -> None:
    """Those of the table of replies, of the command's checks and of operations that are none of ours."""
    stated = {int(row[0], 16) for row in table("status")}
    assert stated == {
        *(status for _, status, _ in REPLIES),
        stored.STORED.status,
        Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
        Status.INVALID_SOP_INSTANCE,
        Status.SOP_CLASS_NOT_SUPPORTED,
        Status.NOT_AUTHORIZED,
        Status.UNRECOGNISED_OPERATION,
    }


def test_answers_to_reports_and_what_failure_reasons_ask_for() -> None:
    assert {int(row[0], 16) for row in table("answer to a report")} == set(commitment.ReportStatus)
    assert {int(row[0], 16): row[1] for row in table("failure reason")} == {
        code: row.remedy.value for code, row in commitment.FAILURES.items()
    }
    assert commitment.STORAGE_COMMITMENT_PUSH_MODEL in PAGE
    assert f"{MAX_REPORT_BYTES >> 20} MiB or {MAX_REFERENCES:,} instances" in PAGE
    defaults = DestinationSettings.model_fields
    assert defaults["verification_report_s"].default == 3600
    assert defaults["verification_wait_s"].default == 5


def test_query_models() -> None:
    for name, *uids in table("model"):
        model = {**query_models.RETRIEVE_MODELS, "worklist": query_models.MODALITY_WORKLIST}[name]
        assert [uid if uid != "–" else "" for uid in uids] == [model.find, model.move, model.get]
    assert len(table("model")) == len(query_models.RETRIEVE_MODELS) + 1


def test_keys_of_a_query() -> None:
    """Those of the index at their levels, and how many are looked up."""
    stated = {row[0]: set(row[1].split(", ")) for row in table("level")}
    gathered = {"ModalitiesInStudy", "SOPClassesInStudy"}
    for level in query_models.Level:
        of_index = {each.keyword for each in indexed_attributes().values() if each.level is level}
        assert stated[level.value] - gathered == of_index
    looked_up = Counter(beside.LEVELS.values())
    assert (
        f"are {looked_up[query_models.Level.STUDY]} more of a study, {looked_up[query_models.Level.SERIES]} of a series "
        f"and {looked_up[query_models.Level.IMAGE]} of an instance"
    ) in PAGE


def test_bounds_of_a_query() -> None:
    """The defaults are those of the settings that are named; what is fixed is the number of elements."""
    for _, default, setting in table("bound"):
        value = (
            MAX_ELEMENTS
            if setting == "fixed"
            else getattr(QuerySettings(), setting.strip("`").removeprefix("query."))
        )
        assert float(default.split()[0].replace(",", "")) == value, setting


def test_the_page_is_what_the_program_makes() -> None:
    """Of the defaults; `python -m tests.support.conformance_page` writes it anew."""
    assert conformance_page.render() == PAGE


def test_every_gap_of_the_template_is_filled_and_nothing_is_made_in_vain() -> None:
    """A table that nobody asks for, or a gap that nobody fills, is a mistake."""
    assert "{{" not in PAGE
    named = list(gaps())
    assert len(named) == len(set(named))
    assert set(FILLS) <= set(named)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("worklist", [True, False])
@pytest.mark.parametrize("mpps", [True, False])
def test_what_is_served_is_what_the_gateway_serves(
    archive: bool, worklist: bool, mpps: bool, tmp_path: Path
) -> None:
    """With each service switched on and off."""
    settings = Settings.model_validate(
        {
            "home": tmp_path,
            "archive": {"enabled": archive},
            "worklist": {"enabled": worklist},
            "performed_procedure_steps": {"enabled": mpps},
        }
    )
    nothing = cast("Any", None)
    performed = LazyPerformed(settings)
    operations = app._operations(settings, nothing, nothing, nothing, performed, nothing, desk=nothing)
    assert served(settings) == operations.services
    text = statement(settings, subject="x")
    assert ("no: `archive.enabled`" in text) is not archive
    assert ("no: `worklist.enabled`" in text) is not worklist


def test_a_statement_of_ones_own_settings_says_them_and_no_secret(tmp_path: Path) -> None:
    """AE title, port, who may call, where it goes; not one of the passwords."""
    certificate = tmp_path / "us.pem"
    certificate.touch()
    (tmp_path / "relay.toml").write_text(
        f"""
        [gateway]
        ae_title = "CLINIC_7"
        port = 11999
        private_sop_classes = ["1.2.826.0.1.77.*"]
        tls = {{ certificate = "{certificate}", minimum = "1.3" }}
        identity = {{ users = [{{ name = "anna", passcode = "VERY-SECRET-1" }}] }}
        [streamer.access]
        token = "VERY-SECRET-TOKEN-22"
        [monitor]
        user = "eva"
        password = "VERY-SECRET-3"
        [broker]
        url = "redis://:VERY-SECRET-4@h:6379/0"
        [database]
        url = "postgresql://u:VERY-SECRET-5@h/x"
        [[peers]]
        ae_title = "CT_*"
        host = "10.0.0.0/24"
        rights = ["store", "mpps"]
        transfer_syntaxes = ["explicit-little-endian"]
        [[destinations]]
        name = "pacs"
        ae_title = "PACS"
        host = "10.0.0.9"
        identity = {{ user = "u", passcode = "VERY-SECRET-6" }}
        tls = {{}}
        """
    )
    done = CliRunner().invoke(cli, ["conformance", "--home", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for said in (
        "| DICOM | 127.0.0.1 | 11999 | TLS 1.3 or newer |",
        "`CT_*` | `10.0.0.0/24` | store, mpps | Explicit VR Little Endian | no |",
        "| pacs | DIMSE | `PACS` | 10.0.0.9:104 | yes |",
        "1.2.826.0.1.77.*",
        "of the settings of CLINIC_7",
    ):
        assert said in done.output
    assert "VERY-SECRET" not in done.output
    assert "](../" not in done.output
