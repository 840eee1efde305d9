"""Who the user is, and whether that is so."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from dicomrelay.errors import ConfigurationError
from dicomrelay.net.identity import PasscodeHash
from dicomrelay.net.service import Rejection
from dicomrelay.settings import GatewayIdentitySettings, TokenSettings, UserSettings
from dicomrelay.ul.pdu import UserIdentity
from scp_gateway.identity import Identified, IdentityCheck, Refused

SECRET = b"0123456789abcdef0123456789abcdef"
NOT_AUTHENTICATED = Rejection(1, 2, 1)
HASH = str(PasscodeHash.of("geheim"))


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def check_of(clock: Clock | None = None, **values: Any) -> IdentityCheck:
    """Three users: one by name, one by hash, one by the passcode itself."""
    users = [
        {"name": "byname"},
        {"name": "hashed", "passcode_hash": HASH},
        {"name": "plain", "passcode": "geheim"},
    ]
    return IdentityCheck(
        GatewayIdentitySettings.model_validate({"users": users, **values}), clock=clock or Clock()
    )


def answer(
    check: IdentityCheck, identity: UserIdentity | None, *, required: bool = False, address: str = "10.0.0.1"
) -> Identified | Refused:
    return check.check(identity, address, required=required)


@pytest.mark.parametrize(
    ("identity", "user"),
    [
        (UserIdentity(1, False, b"byname"), "byname"),
        (UserIdentity(2, False, b"byname", b"whatever"), "byname"),
        (UserIdentity(2, False, b"hashed", b"geheim"), "hashed"),
        (UserIdentity(2, False, b"plain", b"geheim"), "plain"),
    ],
)
def test_who_is_who_they_say(identity: UserIdentity, user: str) -> None:
    assert answer(check_of(), identity) == Identified(user)


@pytest.mark.parametrize(
    "identity",
    [
        UserIdentity(1, False, b"stranger"),
        UserIdentity(1, False, b"hashed"),  # a name alone does not stand for a passcode
        UserIdentity(1, False, b"plain"),
        UserIdentity(1, False, b""),
        UserIdentity(1, False, b"\xff\xfe"),
        UserIdentity(2, False, b"hashed", b"Geheim"),
        UserIdentity(2, False, b"hashed", b""),
        UserIdentity(2, False, b"plain", b"geheim\0"),
        UserIdentity(2, False, b"stranger", b"geheim"),
        UserIdentity(3, False, b"ticket"),
        UserIdentity(4, False, b"<saml/>"),
        UserIdentity(5, False, b"a.b.c"),  # no [gateway.identity.token]
        UserIdentity(9, False, b"byname"),
    ],
)
def test_who_is_not_is_rejected_for_good_and_not_quoted(identity: UserIdentity) -> None:
    """PS3.7 Annex D.3.3.7.3: permanent, source 2. What was shown could be a passcode in the wrong field."""
    refused = answer(check_of(), identity)
    assert isinstance(refused, Refused)
    assert refused.rejection == NOT_AUTHENTICATED
    for shown in (identity.primary_field, identity.secondary_field):
        assert not shown.isalnum() or shown.decode() not in refused.why.split()


def test_nobody_is_needed_unless_required() -> None:
    assert answer(check_of(), None) == Identified()
    refused = answer(check_of(), None, required=True)
    assert isinstance(refused, Refused)
    assert refused.rejection == NOT_AUTHENTICATED


def test_a_response_is_given_when_asked_for_and_is_empty() -> None:
    """PS3.7 Table D.3-15: zero length for types 1 and 2."""
    assert answer(check_of(), UserIdentity(1, True, b"byname")) == Identified("byname", b"")


def test_a_passcode_that_held_is_not_computed_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """An association an image must not cost 50 ms each; a wrong one always does."""
    clock, computed = Clock(), []
    check = check_of(clock)
    real = PasscodeHash.matches
    monkeypatch.setattr(
        PasscodeHash, "matches", lambda self, passcode: computed.append(passcode) or real(self, passcode)
    )
    right, wrong = UserIdentity(2, False, b"hashed", b"geheim"), UserIdentity(2, False, b"hashed", b"x")
    for identity in (right, right, wrong, wrong, right):
        answer(check, identity)
    assert computed == [b"geheim", b"x", b"x"]
    clock.now += 301
    assert answer(check, right) == Identified("hashed")
    assert computed[3:] == [b"geheim"]


def test_a_passcode_that_held_for_one_user_opens_no_other() -> None:
    """What is remembered is name and passcode together, and where one ends and the other begins."""
    users = [
        {"name": name, "passcode": passcode} for name, passcode in (("bob", "geheim"), ("alice", "andere"))
    ]
    users += [{"name": "bobg", "passcode": "x"}]
    check = IdentityCheck(GatewayIdentitySettings.model_validate({"users": users}), clock=Clock())
    assert answer(check, UserIdentity(2, False, b"bob", b"geheim")) == Identified("bob")
    assert isinstance(answer(check, UserIdentity(2, False, b"alice", b"geheim")), Refused)
    assert isinstance(answer(check, UserIdentity(2, False, b"bobg", b"eheim")), Refused)
    assert answer(check, UserIdentity(2, False, b"alice", b"andere")) == Identified("alice")


def test_failures_close_the_door_to_their_address_for_a_minute() -> None:
    """Right or wrong, nothing is checked any more; other addresses are not touched."""
    clock = Clock()
    check = check_of(clock, max_failures=3)
    good = UserIdentity(1, False, b"byname")
    for _ in range(3):
        assert answer(check, UserIdentity(1, False, b"x")) != Identified("byname")
        clock.now += 1
    closed = answer(check, good)
    assert isinstance(closed, Refused)
    assert closed.rejection == Rejection(2, 3, 2)
    assert answer(check, good, address="10.0.0.2") == Identified("byname")
    assert answer(check, None) == Identified()
    clock.now += 58
    assert answer(check, good) == Identified("byname")


def test_guesses_at_once_are_no_more_than_guesses_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty associations of one address that guess together: three passcodes are tried, no fourth."""
    check, tried = check_of(max_failures=3), []
    real = PasscodeHash.matches
    monkeypatch.setattr(
        PasscodeHash, "matches", lambda self, passcode: tried.append(passcode) or real(self, passcode)
    )
    with ThreadPoolExecutor(30) as threads:
        answers = list(
            threads.map(
                lambda number: answer(check, UserIdentity(2, False, b"hashed", b"%d" % number)), range(30)
            )
        )
    assert len(tried) == 3
    rejections = [each.rejection for each in answers if isinstance(each, Refused)]
    assert sorted(each.result for each in rejections) == [1] * 3 + [2] * 27


def test_those_who_are_who_they_say_may_all_come_at_once() -> None:
    """More of them than may fail: they wait for one another, and none is told to come later."""
    check = check_of(max_failures=2)
    with ThreadPoolExecutor(12) as threads:
        answers = list(
            threads.map(lambda _: answer(check, UserIdentity(2, False, b"hashed", b"geheim")), range(12))
        )
    assert answers == [Identified("hashed")] * 12


def test_a_fault_while_checking_is_no_failure_and_no_attempt_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = check_of(max_failures=1)
    with monkeypatch.context() as broken:
        broken.setattr(IdentityCheck, "_answer", lambda *_: 1 // 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                answer(check, UserIdentity(1, False, b"byname"))
    assert answer(check, UserIdentity(1, False, b"byname")) == Identified("byname")


# ---- tokens


def keys(folder: Path) -> dict[str, Path]:
    """Key files as an issuer hands them out."""
    made: dict[str, Any] = {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ec": ec.generate_private_key(ec.SECP256R1()),
    }
    paths = {}
    for name, key in made.items():
        paths[name] = folder / f"{name}.pem"
        paths[name].write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        paths[f"{name}-private"] = folder / f"{name}-private.pem"
        paths[f"{name}-private"].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    paths["secret"] = folder / "secret"
    paths["secret"].write_bytes(SECRET + b"\n")
    return paths


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return keys(tmp_path_factory.mktemp("keys"))


def claims(**changes: Any) -> dict[str, Any]:
    all_of_them = {"iss": "clinic", "aud": "relay", "sub": "ct 1", "exp": time.time() + 60, **changes}
    return {key: value for key, value in all_of_them.items() if value is not None}


def token_check(key_file: Path, *algorithms: str) -> IdentityCheck:
    token = {"key_file": key_file, "algorithms": algorithms, "issuer": "clinic", "audience": "relay"}
    return IdentityCheck(GatewayIdentitySettings.model_validate({"token": token}))


@pytest.mark.parametrize(
    ("key", "algorithm"), [("rsa", "RS256"), ("rsa", "PS384"), ("ec", "ES256"), ("secret", "HS256")]
)
def test_a_token_of_the_issuer_holds(key_files: dict[str, Path], key: str, algorithm: str) -> None:
    signing = SECRET if key == "secret" else key_files[f"{key}-private"].read_bytes()
    token = jwt.encode(claims(), signing, algorithm).encode()
    check = token_check(key_files[key], algorithm)
    assert answer(check, UserIdentity(5, True, token)) == Identified("ct 1", b"")


@pytest.mark.parametrize("subject", ["", " ", "a\nb", "x" * 300])
def test_a_subject_that_is_no_name_is_said_to_be_none(key_files: dict[str, Path], subject: str) -> None:
    """The log says why, also of an empty one, and quotes nothing."""
    token = jwt.encode(claims(sub=subject), SECRET, "HS256").encode()
    refused = answer(token_check(key_files["secret"], "HS256"), UserIdentity(5, False, token))
    assert isinstance(refused, Refused)
    assert refused.why == "the token does not hold: its subject is no name"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": "a\nb"},
        {"sub": "x" * 300},
        {"exp": None},
        {"exp": time.time() - 3600},
        {"nbf": time.time() + 3600},
    ],
)
def test_a_token_that_says_something_else_does_not_hold(
    key_files: dict[str, Path], changes: dict[str, Any]
) -> None:
    token = jwt.encode(claims(**changes), SECRET, "HS256").encode()
    refused = answer(token_check(key_files["secret"], "HS256"), UserIdentity(5, False, token))
    assert isinstance(refused, Refused)
    assert refused.rejection == NOT_AUTHENTICATED


def test_signatures_that_do_not_count(key_files: dict[str, Path]) -> None:
    """None at all, another algorithm than listed, the public key as if it were a secret, a changed token."""
    check = token_check(key_files["rsa"], "RS256")
    private = key_files["rsa-private"].read_bytes()
    good = jwt.encode(claims(), private, "RS256")
    unsigned = jwt.encode(claims(), None, "none")
    other = jwt.encode(claims(), private, "RS512")
    # RFC 8725 Section 2.1; made by hand, for PyJWT itself refuses to sign so.
    head, body = (part for part in jwt.encode(claims(), SECRET, "HS256").split(".")[:2])
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{head}.{body}".encode(), key_files["rsa"].read_bytes()
    )
    confused = f"{head}.{body}.{jwt.utils.base64url_encode(signed).decode()}"
    for token in (unsigned, other, confused, good[:-4] + "AAAA", "", "..", "a.b.c", "\xff", good * 20):
        assert isinstance(answer(check, UserIdentity(5, False, token.encode("latin-1"))), Refused), token
        check = token_check(key_files["rsa"], "RS256")  # so that the failures do not add up
    assert answer(check, UserIdentity(5, False, good.encode())) == Identified("ct 1")


@pytest.mark.parametrize(
    ("content", "algorithm", "words"),
    [
        (None, "RS256", "cannot be read"),
        (b"", "RS256", "no PEM file"),
        (b"geheim", "HS256", "shorter than 32 bytes"),
        ("ec", "RS256", "is none for RS256"),
        ("rsa", "ES256", "is none for ES256"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_named(
    key_files: dict[str, Path], tmp_path: Path, content: bytes | str | None, algorithm: str, words: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(key_files[content].read_bytes() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError, match=words) as caught:
        token_check(path, algorithm)
    assert str(path) in str(caught.value)
    assert str(caught.value).startswith("gateway.identity.token.key_file")


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (TokenSettings, {"key_file": "k", "issuer": "i", "audience": "a", "algorithms": ["none"]}),
        (TokenSettings, {"key_file": "k", "issuer": "i", "audience": "a", "algorithms": ["HS256", "RS256"]}),
        (TokenSettings, {"key_file": "k", "issuer": "", "audience": "a"}),
        (TokenSettings, {"key_file": "k", "issuer": "i"}),
        (UserSettings, {"name": "a", "passcode": "b", "passcode_hash": HASH}),
        (UserSettings, {"name": "a", "passcode": ""}),
        (GatewayIdentitySettings, {}),
        (GatewayIdentitySettings, {"users": [{"name": "a"}, {"name": "a"}]}),
    ],
)
def test_settings_that_would_open_the_door_are_refused(model: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(values)


def test_a_hash_that_is_none_is_named_by_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"^gateway\.identity\.users\.0\.passcode_hash: ") as caught:
        IdentityCheck(
            GatewayIdentitySettings.model_validate({"users": [{"name": "a", "passcode_hash": "geheim"}]})
        )
    assert "geheim" not in str(caught.value)
