"""The doctor refuses what `up` and the gateway refuse of those who call."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.cli.checks.callers import check_callers
from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.doctor import examine
from dicomrelay.errors import ExitCode
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings


def _settings(tmp_path: Path, gateway: dict[str, object], **sections: object) -> Settings:
    port, streamer = free_ports(2)
    return Settings.model_validate(
        {
            "home": tmp_path / "home",
            "gateway": {"port": port, "min_free_bytes": 0, **gateway},
            "streamer": {"port": streamer},
            "monitor": {"enabled": False},
            **sections,
        }
    )


@pytest.mark.parametrize(
    ("gateway", "sections", "key"),
    [
        ({}, {"peers": [{"transfer_syntaxes": ["nonsense"]}]}, "nonsense"),
        (
            {"identity": {"token": {"key_file": "no-such-file.pem", "issuer": "i", "audience": "a"}}},
            {},
            "key_file",
        ),
        ({"identity": {"users": [{"name": "ct", "passcode_hash": "bad"}]}}, {}, "passcode_hash"),
    ],
    ids=["transfer-syntax", "key-file", "passcode-hash"],
)
def test_settings_that_up_refuses_fail(
    tmp_path: Path, gateway: dict[str, object], sections: dict[str, object], key: str
) -> None:
    """With the key, as wrong settings."""
    settings = _settings(tmp_path, gateway, **sections)
    (found,) = [each for each in examine(settings, None) if each.about == "callers"]
    assert (found.verdict, found.code) == (Verdict.FAILED, ExitCode.USAGE)
    assert key in found.words


def test_peers_that_can_be_used_are_told(tmp_path: Path) -> None:
    """How many there are."""
    settings = _settings(tmp_path, {}, peers=[{"host": "10.0.0.0/8"}])
    (found,) = [each for each in examine(settings, None) if each.about == "callers"]
    assert (found.verdict, found.words) == (Verdict.OK, "1 [[peers]]")


@pytest.mark.parametrize(
    ("host", "peers", "is_told"),
    [
        ("127.0.0.1", [], False),
        ("10.1.2.3", [], True),
        ("10.1.2.3", [{"ae_title": "CT*", "host": "10.0.0.0/8"}], True),
        ("10.1.2.3", [{"ae_title": "PA*", "host": "10.0.0.0/8"}], False),
        ("no-such-host.invalid", [], False),
    ],
)
def test_a_destination_that_could_not_report_its_commitment_is_a_warning(
    tmp_path: Path, host: str, peers: list[dict[str, object]], is_told: bool
) -> None:
    """Its reports may come on an association of its own, which admission would refuse."""
    destination = {"name": "pacs", "ae_title": "PACS", "host": host, "verification": "commitment"}
    settings = _settings(tmp_path, {}, peers=peers, destinations=[destination])
    found = [each.verdict for each in check_callers(settings) if "pacs" in each.about]
    assert found == [Verdict.WARNING] * is_told
    without = settings.model_copy(
        update={
            "destinations": [
                each.model_copy(update={"verification": "find"}) for each in settings.destinations
            ]
        }
    )
    assert all("pacs" not in each.about for each in check_callers(without))
