"""Transfers to DICOMweb destinations: rows of the ledger, schedule, breaker, evidence; and services that are not scripted."""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli.checks.destinations import check_destinations
from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.main import cli
from dicomrelay.errors import ConfigurationError, HttpRefused
from dicomrelay.ledger.evidence_chain import FactKind
from dicomrelay.ledger.values import AttentionKind, DeliveryState
from dicomrelay.routing import resolve
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import load
from tests.support.archives import orthanc, write_study
from tests.support.house import wait_for
from tests.support.rooms import data_set, rooms_at, spooled, transfers_of
from tests.support.stow import settings_of
from tests.support.stow import spooled as spool_of
from tests.support.streamer import serving
from tests.support.web_service import Action, Asked, Reply, WebService, json_reply, stored, web_service
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.probe import probe
from workers.rooms import Rooms


def _toml(port: int, *, path: str = "/dicom-web", more: str = "") -> str:
    return (
        f'[[destinations]]\nname = "cloud"\nkind = "dicomweb"\nurl = "http://127.0.0.1:{port}{path}"\n'
        f"retry_initial_s = 0.001\nretry_max_s = 0.001\nadaptive = false\n{more}"
    )


@contextmanager
def _sending(folder: Path, service: WebService, count: int, more: str = "") -> Iterator[tuple[Rooms, str]]:
    """Rooms with a transfer of so many instances 1.2.3.1 ... to a service."""
    with rooms_at(folder / "home", _toml(service.port, more=more)) as (rooms, _):
        for number in range(1, count + 1):
            spooled(rooms, f"1.2.3.{number}")
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        yield rooms, transfer


def _states(rooms: Rooms) -> dict[str, int]:
    (summary,) = rooms.ledger.studies(study_instance_uid="1.2.3")
    (to,) = summary.destinations
    names = ("pending", "delivered", "warnings", "failed", "refused", "gave_up")
    return {name: count for name in names if (count := getattr(to, name))}


def _run(home: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--home", str(home)], standalone_mode=False)


def _sent(rooms: Rooms) -> list[dict[str, Any]]:
    [head] = rooms.ledger.evidence.heads(["1.2.3"])
    rows = [row for row in rooms.ledger.evidence.rows(head) if row.kind == FactKind.SENT]
    return [json.loads(row.body)["detail"] for row in rows]


def test_a_transfer_goes_by_stow_and_the_evidence_says_so(tmp_path: Path) -> None:
    """The bytes that arrived; status, request and HTTP status in the chain."""
    with web_service() as service, _sending(tmp_path, service, 3) as (rooms, transfer):
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"delivered": 3}
        files = service.asked[0].files
        details = _sent(rooms)
        [flow] = rooms.ledger.flow.destinations("cloud")
    assert all(content.endswith(data_set(uid)) for uid, content in files.items())
    assert len(files) == len(details) == 3
    for detail in details:
        assert (detail["protocol"], detail["http_status"], detail["status"]) == ("STOW-RS", 200, 0)
        assert detail["association_id"] == service.asked[0].headers["x-request-id"]
        assert detail["address"] == f"127.0.0.1:{service.port}"
    assert flow.kind == "web"


def test_only_what_is_left_is_sent_again(tmp_path: Path) -> None:
    """One has no room at first; the refused one needs attention."""
    replies = iter([stored("1.2.3.1", failed={"1.2.3.2": 0xA700, "1.2.3.3": 0xC000}), stored("1.2.3.2")])
    with (
        web_service(lambda _: next(replies)) as service,
        _sending(tmp_path, service, 3) as (rooms, transfer),
    ):
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"delivered": 1, "failed": 1, "refused": 1}
        wait_for(lambda: bool(transfers_of(rooms)), timeout_s=5, what="it is due again")
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"delivered": 2, "refused": 1}
        assert service.stored == ["1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.3.2"]
        assert [row.kind for row in rooms.ledger.needs_attention()] == [AttentionKind.REFUSED]


def test_an_instance_that_breaks_the_service_holds_up_no_other(tmp_path: Path) -> None:
    """A 500 for the request that has it; then each goes alone, in the same attempt."""

    def answer(asked: Asked) -> Action:
        return Reply(500) if "1.2.3.2" in asked.uids else stored(*asked.uids)

    with web_service(answer) as service, _sending(tmp_path, service, 4) as (rooms, transfer):
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"delivered": 3, "failed": 1}


def test_requests_that_die_together_are_one_attempt_each(tmp_path: Path) -> None:
    """Both were under way at once; then each goes alone, and no attempt is counted twice."""
    barrier = threading.Barrier(2, timeout=10)

    def answer(asked: Asked) -> Action:
        if len(service.asked) <= 2:
            barrier.wait()
        return "close"

    more = "batch_instances = 1\n"
    with web_service() as service, _sending(tmp_path, service, 2, more) as (rooms, transfer):
        service.answer = answer
        forward_transfer(rooms, transfer)
        details = _sent(rooms)
    assert sorted((each["sop_instance_uid"], each["attempt"]) for each in details) == [
        ("1.2.3.1", 1),
        ("1.2.3.1", 2),
        ("1.2.3.2", 1),
        ("1.2.3.2", 2),
    ]


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    """503 turns away: nothing has failed, and the schedule of a millisecond gives way."""
    with (
        web_service(lambda _: Reply(503, headers={"Retry-After": "5"})) as service,
        _sending(tmp_path, service, 1) as (rooms, transfer),
    ):
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"pending": 1}
        assert transfers_of(rooms) == []
        assert rooms.ledger.claim_transfer(transfer, owner="x", lease_ms=1000) is None
        [flow] = rooms.ledger.flow.destinations("cloud")
        assert (flow.breaker, flow.failures) == ("closed", 1)


def test_a_long_retry_after_is_for_all_transfers(tmp_path: Path) -> None:
    """The breaker is open for as long as it asks: no other transfer brings it its bytes, and no probe."""
    with (
        web_service(lambda _: Reply(429, headers={"Retry-After": "600"})) as service,
        _sending(tmp_path, service, 1) as (rooms, transfer),
    ):
        spooled(rooms, "1.2.4.1", study="1.2.4")
        group_arrivals(rooms)
        [other] = set(transfers_of(rooms)) - {transfer}
        forward_transfer(rooms, transfer)
        forward_transfer(rooms, transfer)
        forward_transfer(rooms, other)
        [flow] = rooms.ledger.flow.destinations("cloud")
        assert flow.breaker == "open"
        assert 595_000 < (flow.probe_in_ms or 0) <= 600_000
        assert len(service.asked) == 1


def test_a_probe_is_left_alone_for_as_long_too(tmp_path: Path) -> None:
    """The service is up again, and asks for more time."""
    more = "breaker_failures = 1\nprobe_initial_s = 0.01\nprobe_max_s = 0.01\n"
    with (
        web_service(lambda _: Reply(502)) as service,
        _sending(tmp_path, service, 1, more) as (rooms, transfer),
    ):
        forward_transfer(rooms, transfer)
        service.answer = lambda _: Reply(503, headers={"Retry-After": "600"})

        def probed() -> bool:
            forward_transfer(rooms, transfer)
            return len(service.asked) > 1

        wait_for(probed, timeout_s=5, what="a probe")
        [flow] = rooms.ledger.flow.destinations("cloud")
        assert 595_000 < (flow.probe_in_ms or 0) <= 600_000
        assert service.stored == ["1.2.3.1"]


def test_what_somebody_has_to_mend_is_listed_with_its_advice(tmp_path: Path) -> None:
    """403: blocked, no instance refused."""
    with web_service(lambda _: Reply(403)) as service, _sending(tmp_path, service, 2) as (rooms, transfer):
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"pending": 2}
        listed = rooms.ledger.needs_attention()
        assert [each.kind for each in listed] == [AttentionKind.BLOCKED] * 2
        assert all("HTTP 403" in each.reason for each in listed)


def test_the_breaker_opens_is_probed_and_closes(tmp_path: Path) -> None:
    """As for any destination; the probe is a search for nobody."""
    more = "breaker_failures = 1\nprobe_initial_s = 0.01\nprobe_max_s = 0.01\n"
    with (
        web_service(lambda _: Reply(502)) as service,
        _sending(tmp_path, service, 1, more) as (rooms, transfer),
    ):
        forward_transfer(rooms, transfer)
        [flow] = rooms.ledger.flow.destinations("cloud")
        assert flow.breaker == "open"

        def tried() -> bool:
            forward_transfer(rooms, transfer)
            return any(asked.method == "GET" for asked in service.asked)

        wait_for(tried, timeout_s=5, what="a probe")
        assert len(service.stored) == 1  # a probe that fails sends nothing
        service.answer = lambda asked: stored(*asked.uids) if asked.method == "POST" else Reply(404)

        def delivered() -> bool:
            forward_transfer(rooms, transfer)
            return _states(rooms) == {"delivered": 1}

        wait_for(delivered, timeout_s=5, what="it is back")
        [flow] = rooms.ledger.flow.destinations("cloud")
        assert flow.breaker == "closed"
        assert "limit=1" in next(asked.target for asked in service.asked if asked.method == "GET")


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_probe_that_is_refused(tmp_path: Path, status: int) -> None:
    """It is not there for us."""
    with web_service(lambda _: Reply(status)) as service:
        (tmp_path / "relay.toml").write_text(_toml(service.port))
        settings = load(home=tmp_path)
        with pytest.raises(HttpRefused):
            probe(resolve("cloud", settings.destinations), settings.gateway)


def test_an_answer_with_words_of_its_own_stays_out_of_the_evidence(tmp_path: Path) -> None:
    """What a service says may name a patient: the ledger has it as the peer's, the chain has not."""
    reply = json_reply({"message": "CANARY^NAME is no patient"}, 400)
    with web_service(lambda _: reply) as service, _sending(tmp_path, service, 1) as (rooms, transfer):
        forward_transfer(rooms, transfer)
        [listed] = rooms.ledger.needs_attention()
        [detail] = _sent(rooms)
    assert listed.reason.startswith("HTTP 400: bad request")
    assert 'the peer says "' in listed.reason
    assert "CANARY" in listed.reason
    assert "CANARY" not in json.dumps(detail)
    assert detail["state"] == DeliveryState.REFUSED.value


def test_what_is_edited_is_known_by_its_new_uid(tmp_path: Path) -> None:
    """The store response names the copy; nothing of what arrived goes out, and a request sent again has the same bytes."""
    key = tmp_path / "key"
    key.write_text("00112233445566778899aabbccddeeff" * 2)
    key.chmod(0o600)
    more = (
        'edits = "research"\n[[edits]]\nname = "research"\n'
        f'deidentify = {{ profile = "basic", key_file = "{key}" }}\n'
    )
    replies = iter([Reply(503)])
    with web_service() as service, _sending(tmp_path, service, 2, more) as (rooms, transfer):
        service.answer = lambda asked: next(replies, stored(*asked.uids))
        forward_transfer(rooms, transfer)
        wait_for(lambda: bool(transfers_of(rooms)), timeout_s=5, what="it is due again")
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"delivered": 2}
        details = [each for each in _sent(rooms) if each["state"] == "delivered"]
    first, second = service.asked
    assert first.files == second.files
    assert all(uid.startswith("2.25.") for uid in first.files)
    assert not any(b"1.2.3" in content for content in first.files.values())
    assert {detail["sent_sop_instance_uid"] for detail in details} == set(first.files)
    assert all(detail["edits"].startswith("research@") for detail in details)


def test_a_destination_that_left_the_settings_is_not_called_by_dimse(tmp_path: Path) -> None:
    """Its host and port are those of a web server."""
    with web_service() as service, _sending(tmp_path, service, 1) as (rooms, transfer):
        object.__setattr__(rooms.settings, "destinations", [])
        forward_transfer(rooms, transfer)
        assert service.asked == []
        [listed] = rooms.ledger.needs_attention()
        assert listed.kind is AttentionKind.BLOCKED
        assert "cloud" in listed.reason


def test_no_association_is_made_to_it(tmp_path: Path) -> None:
    """find, move, get and verification have nobody to ask."""
    (tmp_path / "relay.toml").write_text(_toml(80))
    settings = load(home=tmp_path)
    with pytest.raises(ConfigurationError, match="DICOMweb"):
        resolve("cloud", settings.destinations).peer(settings.gateway)


def test_echo_and_doctor_ask_it(tmp_path: Path) -> None:
    """With what it answers, and the advice when it does not."""
    with web_service() as service:
        (tmp_path / "relay.toml").write_text(_toml(service.port))
        settings = load(home=tmp_path)
        asked = _run(tmp_path, "echo", "cloud", "--repeat", "2", "--json")
        assert asked.return_value == 0, asked.output
        told = json.loads(asked.stdout)
        assert (told["http_status"], told["status"], len(told["echo_ms"])) == (200, None, 2)
        assert told["address"] == settings.destinations[0].url
        [found] = check_destinations(settings, 2.0)
        assert found.verdict is Verdict.OK
        service.answer = lambda _: Reply(404)
        [found] = check_destinations(settings, 2.0)
        assert found.verdict is Verdict.WARNING
        service.answer = lambda _: Reply(401)
        [found] = check_destinations(settings, 2.0)
        assert (found.verdict, "HTTP 401" in found.words) == (Verdict.FAILED, True)
    asked = _run(tmp_path, "echo", "cloud")
    assert asked.return_value == 3


def test_doctor_sees_a_secret_that_is_none(tmp_path: Path) -> None:
    """A file that the group can read."""
    secret = tmp_path / "token"
    secret.write_text("abc")
    secret.chmod(0o640)
    with web_service() as service:
        (tmp_path / "relay.toml").write_text(
            _toml(service.port, more=f'auth = {{ token_file = "{secret}" }}\n')
        )
        settings = load(home=tmp_path)
        found = [*check_destinations(settings, 2.0)]
        secret.chmod(0o600)
        again = [*check_destinations(settings, 2.0)]
    assert [each.verdict for each in found] == [Verdict.OK, Verdict.WARNING]
    assert "0640" in found[1].words
    assert [each.verdict for each in again] == [Verdict.OK]


# ---- services that are not scripted


def test_our_own_streamer_takes_it(tmp_path: Path) -> None:
    """Byte for byte, with a token of its own; a second time it is a success again."""
    token = "0123456789abcdef"
    secret = tmp_path / "token"
    secret.write_text(token)
    settings = settings_of(tmp_path / "other", streamer={"access": {"token": token}})
    more = f'auth = {{ token_file = "{secret}" }}\nbatch_instances = 2\n'
    home = tmp_path / "home"
    with (
        serving(settings, stores=True),
        rooms_at(home, _toml(settings.streamer.port, path="", more=more)) as (rooms, _),
    ):
        for number in range(1, 6):
            spooled(rooms, f"1.2.3.{number}")
        group_arrivals(rooms)
        (transfer,) = transfers_of(rooms)
        forward_transfer(rooms, transfer)
        assert _states(rooms) == {"delivered": 5}
    found = spool_of(tmp_path / "other")
    assert {uid: content for uid, (_, content) in found.items()} == {
        f"1.2.3.{number}": data_set(f"1.2.3.{number}") for number in range(1, 6)
    }


_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def test_orthanc_takes_it(tmp_path: Path) -> None:
    """By `send --direct`, with its plugin for DICOMweb and a user; without the password nothing goes there."""
    (http,) = free_ports(1)
    write_study(tmp_path / "study", instances=5)
    secret = tmp_path / "password"
    secret.write_text("pass")
    auth = f'auth = {{ user = "relay", password_file = "{secret}" }}\nbatch_instances = 2\n'
    (tmp_path / "relay.toml").write_text(_toml(http, more=auth))
    send = ("send", "--direct", "--to", "cloud", "-r", str(tmp_path / "study"), "--json")
    more = {
        "Plugins": [str(_PLUGIN)],
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"relay": "pass"},
    }
    if not _PLUGIN.exists():
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("Orthanc's DICOMweb plugin is not installed")
    with orthanc(tmp_path / "orthanc", HttpPort=http, **more):
        sent = _run(tmp_path, *send)
        assert sent.return_value == 0, sent.output
        asked = urllib.request.Request(f"http://127.0.0.1:{http}/statistics")
        asked.add_header("Authorization", "Basic cmVsYXk6cGFzcw==")
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert json.loads(answer.read())["CountInstances"] == 5
        secret.write_text("wrong")
        refused = _run(tmp_path, *send, "--retries", "0")
        assert refused.return_value
        assert "HTTP 401" in refused.output
