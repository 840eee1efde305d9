"""Flower with our pages over HTTP: who may look, who may do what, and what is never shown."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomrelay.access.users import hash_of_token
from dicomrelay.audit import trail_of
from dicomrelay.audit.trail import Trail
from dicomrelay.errors import AuditError, ConfigurationError
from dicomrelay.ledger import DeliveryOutcome, DeliveryState, DestinationInfo, Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime import home
from dicomrelay.settings import AccountSettings, MonitorSettings, Settings
from monitor import beside
from tests.support.ledger import PACS, arrival, claimed_transfer
from tests.support.monitor import running_monitor
from tests.support.processes import until

STUDY = "1.2.1"
OURS = ("/transfers", "/transfers/pacs", "/studies", f"/studies/{STUDY}", "/attention", "/studies?state=held")
THEIRS = ("/workers", "/tasks", "/")
_CANARY = "DOE^JOHN"


def _token(role: str) -> str:
    return role[0] * 43


def _written(role: str) -> dict[str, Any]:
    return {
        "name": role,
        "role": role,
        "tokens": [{"name": "t", "hash": hash_of_token(_token(role).encode())}],
    }


def _account(role: str) -> AccountSettings:
    return AccountSettings.model_validate(_written(role))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with one study: two instances delivered, one refused, and what the peer says of it names a patient."""
    found = Settings(
        home=tmp_path_factory.mktemp("home"),
        users=[_account(role) for role in ("viewer", "operator", "admin")],
    )
    found.path("db").mkdir()
    migrate(home.ledger_url(found))
    ledger = Ledger.open(home.ledger_url(found))
    ledger.sync_destinations([PACS, DestinationInfo("research", "RES", "10.0.0.8", 104)])
    claimed = claimed_transfer(ledger, [arrival(number) for number in range(3)])
    states = (DeliveryState.DELIVERED, DeliveryState.DELIVERED, DeliveryState.REFUSED)
    ledger.record_outcomes(
        claimed.id,
        claimed.fence,
        [
            DeliveryOutcome(
                each.instance.instance_id,
                state,
                status=0 if state.is_delivered else 0xC000,
                reason="" if state.is_delivered else f'C000 cannot understand; the peer says "{_CANARY}"',
                association_id="out-1",
                sent_bytes=1000,
            )
            for each, state in zip(claimed.deliveries, states, strict=True)
        ],
    )
    ledger.finish_transfer(
        claimed.id, claimed.fence, retry_in_ms=None, reason=f'1 refused; the peer says "{_CANARY}"'
    )
    ledger.dispose()
    return found


@pytest.fixture(scope="module")
def base(settings: Settings) -> Iterator[str]:
    with running_monitor(settings) as address:
        yield address


def _client(base: str, role: str) -> httpx.Client:
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {_token(role)}"}, timeout=60)


def _form(client: httpx.Client, page: str, wanted: str, /, **changes: str) -> dict[str, str]:
    """The fields of the first form of a verb, as a browser would send them."""
    for form in re.findall(r"<form.*?</form>", client.get(page).text, re.DOTALL):
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
        if fields.get("verb") == wanted:
            return fields | changes
    raise AssertionError(f"no form to {wanted} on {page}")


def _actions(settings: Settings) -> list[tuple[str, str, str]]:
    """What the trail has of what people did: what, by whom, how it went."""
    trail = "".join(path.read_text() for path in sorted(settings.path("audit").glob("*.jsonl")))
    lines = [json.loads(line) for line in trail.splitlines()]
    return [(each["what"], each["who"]["id"], each["outcome"]) for each in lines if each["kind"] == "action"]


@pytest.mark.parametrize("page", [*OURS, *THEIRS])
def test_every_page_asks_who_comes_and_lets_no_other_site_read_it(base: str, page: str) -> None:
    """Flower's too; scripts come from the server alone, and no other origin is let in."""
    bare = httpx.get(f"{base}{page}", headers={"Origin": "https://elsewhere.example"})
    assert bare.status_code == 401
    assert "Basic" in bare.headers["WWW-Authenticate"]
    with _client(base, "viewer") as client:
        shown = client.get(page, headers={"Origin": "https://elsewhere.example"})
        assert shown.status_code == 200
        assert not [name for name in shown.headers if name.startswith("access-control-")]
        policy = shown.headers["Content-Security-Policy"]
        scripts = policy.partition("script-src ")[2].partition(";")[0]
        assert "unsafe" not in scripts
        assert ("nonce-" in scripts) == (page in THEIRS)
        assert "frame-ancestors 'none'" in policy
        nonce = scripts.partition("'nonce-")[2].rstrip("'")
        inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", shown.text)
        assert all(f'nonce="{nonce}"' in each for each in inline)
        assert _CANARY not in shown.text
        for tab in ("/transfers", "/studies", "/attention", "/workers", "/tasks", "/broker"):
            assert f'href="{tab}"' in shown.text


def test_no_handler_is_without_its_guard(base: str) -> None:
    """Whatever Flower has, and will have."""
    from flower import app as flower_app  # noqa: PLC0415

    from monitor.guard import ASK_NOBODY, Guard  # noqa: PLC0415

    assert base
    for spec in flower_app.default_handlers:
        assert issubclass(spec.handler_class, Guard)
        assert spec.handler_class.asks_who == (spec.regex.pattern.removesuffix("$") not in ASK_NOBODY)
    assert len(flower_app.default_handlers) > 35


@pytest.mark.parametrize("path", ["/healthcheck", "/healthz"])
def test_whether_it_lives_is_said_to_everybody(base: str, path: str) -> None:
    """And no more than that."""
    answer = httpx.get(f"{base}{path}")
    assert (answer.status_code, len(answer.text) < 10) == (200, True)


def test_the_figures_are_for_who_may_look(base: str) -> None:
    """Of Prometheus and of Flower: users, or the token of the figures."""
    assert httpx.get(f"{base}/metrics").status_code == 401
    with _client(base, "viewer") as client:
        assert client.get("/metrics").status_code == 200


def test_a_page_of_another_name_is_not_answered(base: str) -> None:
    """A page of another site may have its own name resolved to this machine."""
    answer = httpx.get(f"{base}/healthcheck", headers={"Host": "elsewhere.example"})
    assert answer.status_code == 421
    assert httpx.get(f"{base}/healthcheck", headers={"Host": "localhost:5555"}).status_code == 200


def test_who_may_look_only_is_shown_no_button_and_may_press_none(base: str, settings: Settings) -> None:
    """A form of one's own does not help."""
    before = _actions(settings)
    with _client(base, "viewer") as client:
        for page in OURS:
            assert '<form method="post"' not in client.get(page).text
        client.get("/studies")  # for the token
        form = {"verb": "hold", "id": STUDY, "_xsrf": client.cookies.get("_xsrf") or ""}
        answer = client.post("/do", data=form)
        assert answer.status_code == 403
        assert "viewer may not hold" in answer.text
    assert _actions(settings) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
def test_a_button_of_another_site_does_nothing(
    base: str, settings: Settings, headers: dict[str, str]
) -> None:
    """The browser would send the password along; with the token it would still be refused."""
    with _client(base, "operator") as client:
        form = _form(client, f"/studies/{STUDY}", "hold")
        assert client.post("/do", data=form, headers=headers).status_code == 403
    assert not _actions(settings)


def test_a_form_without_its_token_does_nothing(base: str, settings: Settings) -> None:
    """Also where the browser says nothing of where it comes from."""
    with _client(base, "operator") as client:
        form = _form(client, f"/studies/{STUDY}", "hold")
        assert client.post("/do", data=form | {"_xsrf": "x"}).status_code == 403
        client.cookies.clear()
        assert client.post("/do", data=form).status_code == 403
    assert not _actions(settings)


def test_an_operator_holds_and_releases_retries_cancels_and_replays(base: str, settings: Settings) -> None:
    """Each is said on the page after it, done in the ledger, and in the trail from before it was done."""
    page = f"/studies/{STUDY}"
    seen: list[str] = []
    with _client(base, "operator") as client:

        def press(where: str, verb: str, **changes: str) -> str:
            answer = client.post("/do", data=_form(client, where, verb, **changes), follow_redirects=False)
            assert answer.status_code == 303, answer.text
            assert answer.headers["Location"].startswith(f"{where}?said=")
            said = (
                client.get(answer.headers["Location"]).text.partition('id="said"')[2].partition("</div>")[0]
            )
            seen.append(verb)
            return re.sub(r"<[^>]*>", " ", said.partition(">")[2]).strip()

        assert press(page, "hold", destination="research") == (
            "What comes of it later is held too, until it is released."
        )
        assert "later to research is held too" in client.get(page).text
        assert "No order is in force any more" in press(page, "release")
        assert "1 transfer with 3 instances to pacs tried again now" in press(
            "/attention", "retry", id=STUDY, destination=""
        )
        assert "Nothing needs attention" in client.get("/attention").text
        assert "1 transfer with 3 instances to pacs cancelled" in press(page, "cancel")
        assert "3 instances (3.0 kB) queued to research as job" in press(page, "replay", to="research")
        assert press("/transfers", "hold-destination", destination="pacs").startswith("pacs is held")
        assert "pacs is released" in press("/transfers", "release-destination", destination="pacs")
        assert press(page, "hold", id="nobody").startswith("Nothing was done")
    ledger = Ledger.open(home.ledger_url(settings))
    assert ledger.flow.destinations("research")[0].instances == 3
    ledger.dispose()
    done = _actions(settings)
    assert [each[0] for each in done[::2]] == [
        *("jobs.hold", "jobs.release", "jobs.retry", "jobs.cancel", "jobs.replay"),
        *("destinations.hold", "destinations.release"),
    ]
    assert {each[1:] for each in done[::2]} == {("operator", "begun")}
    assert {each[1:] for each in done[1::2]} == {("operator", "success")}


def test_everything_is_not_held_nor_cancelled_by_one_button(base: str, settings: Settings) -> None:
    """What is stopped one by one is let go one by one; all that goes to one destination may be tried again."""
    with _client(base, "operator") as client:
        for verb, destination in (("cancel", ""), ("cancel", "pacs"), ("hold", "pacs"), ("retry", "")):
            form = _form(client, f"/studies/{STUDY}", "hold", verb=verb, id="*", destination=destination)
            answer = client.post("/do", data=form, follow_redirects=True)
            assert "Nothing was done" in answer.text, (verb, destination)
        form = _form(client, f"/studies/{STUDY}", "hold", verb="drop", id="*")
        assert client.post("/do", data=form).status_code == 403


@pytest.mark.parametrize(
    "back", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example", "/a\nb"]
)
def test_a_button_leads_back_to_a_page_of_ours(base: str, back: str) -> None:
    """Whatever a form says."""
    with _client(base, "operator") as client:
        form = _form(client, "/transfers", "hold-destination", verb="release-destination", back=back)
        answer = client.post("/do", data=form, follow_redirects=False)
        assert answer.headers["Location"].startswith("/transfers?said=")


def test_the_operations_of_flower_are_for_admins(base: str) -> None:
    """To stop a worker, to send a task: an operator of images needs none of it."""
    for path in ("/api/worker/shutdown/intake", "/api/task/send-task/dicomrelay.group"):
        with _client(base, "operator") as client:
            answer = client.post(path)
            assert answer.status_code == 403
            assert "operator may not use operations of Flower itself: they are for admins" in answer.text
        with _client(base, "admin") as client:
            assert client.post(path, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    with _client(base, "admin") as client:
        assert client.post("/api/worker/shutdown/intake").status_code == 404  # there is no such worker


def test_what_an_admin_does_by_flower_is_recorded_before_it_is_done(base: str, settings: Settings) -> None:
    """Who, what, to which task or worker, and what came of it; what is said in the body is not."""

    def told() -> list[Any]:
        return [each for each in trail_of(settings).entries() if each.what.startswith("flower.")]

    before = len(told())
    fields = {"Authorization": f"Bearer {_token('admin')}"}
    done = httpx.post(
        f"{base}/api/task/revoke/0123-abcd", headers=fields, data={"signal": _CANARY}, timeout=30
    )
    failed = httpx.post(
        f"{base}/api/worker/pool/grow/celery@nowhere", headers=fields, data={"n": "1"}, timeout=30
    )
    odd = httpx.post(f"{base}/api/task/timeout/x%0Ay%1B[31m", headers=fields, timeout=30)
    assert (done.status_code, failed.status_code) == (200, 404)
    assert odd.status_code >= 400
    # What came of it is written when the answer is gone.
    until(lambda: len(told()) == before + 6, seconds=30, what="all is recorded")
    assert [
        (each.actor.id, each.what, each.outcome.word, [thing.id for thing in each.things], each.facts["by"])
        for each in told()[before:]
    ] == [
        ("admin", "flower.task-revoke", "begun", ["0123-abcd"], "flower"),
        ("admin", "flower.task-revoke", "success", ["0123-abcd"], "flower"),
        ("admin", "flower.worker-pool-grow", "begun", ["celery@nowhere"], "flower"),
        ("admin", "flower.worker-pool-grow", "minor_failure", ["celery@nowhere"], "flower"),
        ("admin", "flower.task-timout", "begun", ["unknown"], "flower"),
        ("admin", "flower.task-timout", "minor_failure", ["unknown"], "flower"),
    ]
    assert _CANARY not in str(told())


def test_what_cannot_be_recorded_is_not_done_by_flower(
    base: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the trail is full: 503, and no word to the workers."""
    monkeypatch.setattr(Trail, "write", _fails)
    answer = httpx.post(
        f"{base}/api/task/revoke/0123", headers={"Authorization": f"Bearer {_token('admin')}"}, timeout=30
    )
    assert (answer.status_code, answer.text[:16]) == (503, "nothing was done")


def _fails(*_: object, **__: object) -> None:
    raise AuditError("the disk is full")


def test_flowers_own_door_is_not_there(base: str) -> None:
    """Its handler came without the guard: no policy, no check of Host, a page of Flower for everybody."""
    for path in ("/login", "/login/"):
        assert httpx.get(base + path).status_code == 401


def test_studies_are_found_by_what_people_have(base: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The UID of a study, a series or an instance, or how it begins; a name finds nothing, and is in no log."""
    with _client(base, "viewer") as client:

        def found(q: str) -> Any:
            return client.get("/studies", params={"q": q}, follow_redirects=False)

        for uid in (STUDY, "1.2.1.1", "1.2.3.1"):
            assert found(uid).headers["Location"] == f"/studies/{STUDY}"
        assert f'href="/studies/{STUDY}"' in found("1.2").text
        assert "None, and no job" in found("1.3").text
        assert found(_CANARY).status_code == 400
        assert client.get(f"/nowhere/{_CANARY}").status_code == 404
        assert client.get(f"/transfers/{_CANARY}").status_code == 404
        assert client.get("/studies/1.9.9").status_code == 404
        assert client.get("/studies", params={"state": "gone", "after": "x", "span": "y"}).status_code == 200
    said = capfd.readouterr()
    assert _CANARY.partition("^")[0] not in said.out + said.err


def test_the_journey_of_a_study_is_told_in_its_order(base: str) -> None:
    """As `dicomrelay trace` tells it."""
    with _client(base, "viewer") as client:
        page = client.get(f"/studies/{STUDY}").text
    steps = re.findall(r'class="relay-what">([^<]*)<', page)
    assert steps[0] == "received"
    assert steps.index("transfer made pacs") < steps.index("transfer claimed pacs") < len(steps) - 1
    assert "C000" in page


def test_where_nobody_is_asked_everybody_may_look_and_nobody_do(tmp_path: Path) -> None:
    """A role says who may, and there is none."""
    settings = Settings(home=tmp_path)
    settings.path("db").mkdir()
    migrate(home.ledger_url(settings))
    with running_monitor(settings) as base, httpx.Client(base_url=base, timeout=60) as client:
        page = client.get("/transfers")
        assert page.status_code == 200
        assert "No destination yet" in page.text
        assert "users add" in page.text
        form = {"verb": "hold-destination", "destination": "pacs", "_xsrf": client.cookies.get("_xsrf") or ""}
        assert client.post("/do", data=form).status_code == 403
        assert client.get("/api/workers").status_code == 401
        assert client.post("/api/worker/shutdown/intake").status_code == 403
        # A ledger that is away is told in words; the page is there again when it is.
        settings.path("db", "ledger.sqlite").rename(tmp_path / "away")
        for path in settings.path("db").glob("ledger.sqlite-*"):
            path.unlink()
        client.get("/transfers")
        away = client.get("/studies")
        assert away.status_code == 503
        assert "The ledger does not answer" in away.text


def test_what_is_no_instance_of_the_ledger_needs_attention_too(tmp_path: Path) -> None:
    """As the status has it: nothing says that nothing needs attention while a damaged item lies in the spool."""
    settings = Settings(home=tmp_path)
    settings.path("db").mkdir()
    migrate(home.ledger_url(settings))
    ledger = Ledger.open(home.ledger_url(settings))
    assert beside.lines(ledger, settings) == ()
    settings.path("spool", "corrupt").mkdir(parents=True)
    for name in ("a.dcm", "b.dcm"):
        settings.path("spool", "corrupt", name).touch()
    settings.archive_path.mkdir()
    with closing(sqlite3.connect(settings.archive_path / "index.sqlite")) as index:
        index.execute("CREATE TABLE archive_instances (damage TEXT)")
        index.execute("INSERT INTO archive_instances VALUES (NULL), ('digest')")
        index.commit()
    full = settings.model_copy(
        update={"gateway": settings.gateway.model_copy(update={"min_free_bytes": 1 << 60})}
    )
    assert [do for _, do in beside.lines(ledger, full)] == [
        "dicomrelay status",
        "dicomrelay doctor",
        "dicomrelay archive check --damaged",
    ]
    with running_monitor(settings) as base:
        page = httpx.get(f"{base}/attention", timeout=60).text
    assert "No instance needs attention" in page
    assert "2 damaged spool items put away in spool/corrupt" in page
    assert "1 damaged archived file:" in page
    ledger.dispose()


def test_users_made_while_it_runs_may_what_they_may(tmp_path: Path) -> None:
    """Flower's own operations too, without a restart: the first user is made when somebody needs one."""
    settings = Settings(home=tmp_path)
    with running_monitor(settings) as base, _client(base, "admin") as client:
        assert client.post("/api/worker/shutdown/intake").status_code == 403
        file = tmp_path / "users.json"
        file.touch(0o600)
        file.write_text(json.dumps({"users": [_written("admin")]}))
        deadline = time.monotonic() + 20
        while (answer := client.post("/api/worker/shutdown/intake")).status_code == 403:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        assert (answer.status_code, "Unknown worker" in answer.text) == (404, True)


@pytest.mark.parametrize("ours", [{}, {"user": "anna", "password": "correct horse"}])
def test_it_does_not_start_open_on_another_address(tmp_path: Path, ours: dict[str, str]) -> None:
    """A user, of the settings or of the file, and it may."""
    from monitor import flower  # noqa: PLC0415

    with pytest.raises(ConfigurationError, match="not loopback"):
        flower.check(Settings(home=tmp_path, monitor=MonitorSettings(host="0.0.0.0")))
    if ours:
        there = MonitorSettings.model_validate({"host": "0.0.0.0", **ours})
        assert flower.check(Settings(home=tmp_path, monitor=there))
        return
    (tmp_path / "users.json").write_text('{"users": []}')
    (tmp_path / "users.json").chmod(0o600)
    settings = Settings(home=tmp_path, monitor=MonitorSettings(host="0.0.0.0"))
    assert flower.check(settings)
    (tmp_path / "users.json").unlink()
    with pytest.raises(ConfigurationError, match="ask nobody"):
        flower.check(settings.model_copy(update={"users": []}))
