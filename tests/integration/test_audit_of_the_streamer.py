"""What comes over HTTP, in the trail of a real streamer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from dicomrelay.access import users_file
from dicomrelay.access.users import hash_of_token
from dicomrelay.audit import Entry, Kind, Outcome, trail_of
from dicomrelay.settings import AccountSettings, Settings, StreamerSettings
from tests.support.accounts import PASSWORD, cheap_hash
from tests.support.streamer import free_port, serving

STUDY = "1.2.826.0.1.3680043.8.498.1"
CANARY = "CANARY^PATIENT"


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {role * 9}"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("audited") / "home"
    found = Settings(home=home, streamer=StreamerSettings(port=free_port()))
    with users_file.changing(found.users_path) as users:
        for role in ("viewer", "operator"):
            users[role] = AccountSettings.model_validate(
                {
                    "name": role,
                    "role": role,
                    "password_hash": cheap_hash(),
                    "tokens": [{"name": "t", "hash": hash_of_token(role.encode() * 9)}],
                }
            )
    return found


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings) as found:
        yield found


def entries(settings: Settings, *kinds: Kind) -> list[Entry]:
    return [entry for entry in trail_of(settings).entries() if entry.kind in kinds]


def test_a_password_is_recorded_once_and_each_failure(client: httpx.Client, settings: Settings) -> None:
    """By name and address; a token that is nobody's without a name."""
    for _ in range(2):
        assert client.get("/studies", auth=("viewer", PASSWORD)).status_code in {200, 204}
    assert client.get("/studies", auth=("viewer", "wrong")).status_code == 401
    assert client.get("/studies", auth=(CANARY, "wrong")).status_code == 401
    assert client.get("/studies", headers=bearer("nobody")).status_code == 401
    found = entries(settings, Kind.LOGIN)
    assert [(each.actor.id, each.outcome) for each in found] == [
        ("viewer", Outcome.SUCCESS),
        ("viewer", Outcome.MINOR),
        ("unknown", Outcome.MINOR),
        ("unknown", Outcome.MINOR),
    ]
    assert {each.actor.address for each in found} == {"127.0.0.1"}


def test_who_may_not_is_recorded(client: httpx.Client, settings: Settings) -> None:
    """With what it wanted."""
    assert client.post("/studies", headers=bearer("viewer")).status_code == 403
    (found,) = entries(settings, Kind.REFUSED)
    assert (found.what, found.actor.id, found.words) == ("store", "viewer", "viewer may not store")


def test_searches_are_recorded_by_their_keys_alone(client: httpx.Client, settings: Settings) -> None:
    """Not by what was looked for, and not by what only stands where a key should."""
    query = {"PatientName": CANARY, "00100020": CANARY}
    for _ in range(3):
        assert client.get("/studies", params=query, headers=bearer("operator")).status_code in {200, 204}
    found = [each for each in entries(settings, Kind.QUERY) if each.actor.id == "operator"]
    assert [each.facts["keys"] for each in found] == ["00100020 PatientName"]


def test_what_is_not_there_was_not_looked_at(client: httpx.Client, settings: Settings) -> None:
    """An answer 404 is no access."""
    assert client.get(f"/studies/{STUDY}", headers=bearer("viewer")).status_code == 404
    assert not entries(settings, Kind.ACCESSED)


def test_a_change_of_the_worklist_is_recorded_before_it_is_made(
    client: httpx.Client, settings: Settings
) -> None:
    """Without what was in it."""
    item = [{"00100010": {"vr": "PN", "Value": [{"Alphabetic": CANARY}]}}]
    answer = client.post(
        "/worklist",
        content=json.dumps(item),
        headers={**bearer("operator"), "Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 20
    while len(found := entries(settings, Kind.ACTION)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)  # its outcome follows the answer
    begun, ended = found
    assert (begun.what, begun.outcome, begun.actor.id) == ("worklist.add", Outcome.BEGUN, "operator")
    assert begun.id == ended.id
    assert ended.outcome is (Outcome.SUCCESS if answer.is_success else Outcome.MINOR)


def test_no_attribute_of_a_patient_is_in_the_trail(settings: Settings) -> None:
    """After all of the above."""
    trail = trail_of(settings)
    content = b"".join(trail.path(each).read_bytes() for each in trail.segments())
    assert content.count(b"\n") > 8
    assert b"CANARY" not in content
    assert PASSWORD.encode() not in content
