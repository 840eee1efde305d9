"""What is negotiated, between us and implementations that are not ours: storescu with its profiles and identities, pynetdicom."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from chaos.instances import make_instances
from dicomrelay.errors import AssociationRejected, IdentityNotConfirmed
from dicomrelay.net.identity import PasscodeHash
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.ul.pdu import (
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
)
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT
from tests.support.gateway import Running, running
from tests.support.house import require

SECRET = "0123456789abcdef0123456789abcdef"
SPECIAL = "1.3.6.1.4.1.9.9.9"
STORAGE_SERVICE_CLASS = "1.2.840.10008.4.2"


# ---- storescu


def storescu(gateway: Running, *options: str) -> subprocess.CompletedProcess[str]:
    """One file to the gateway, with debug words so that what was negotiated can be read."""
    path = next(make_instances(gateway.settings.home.parent, 7)).item.path
    command = [
        require("storescu"),
        "-d",
        *options,
        "127.0.0.1",
        str(gateway.settings.gateway.port),
        str(path),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def token_settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "secret").write_text(SECRET)
    return {
        "key_file": tmp_path / "secret",
        "algorithms": ["HS256"],
        "issuer": "clinic",
        "audience": "relay",
    }


def token_file(folder: Path, *, seconds: float) -> Path:
    """A token that ends in so many seconds."""
    claims = {"iss": "clinic", "aud": "relay", "sub": "ct 1", "exp": time.time() + seconds}
    (folder / "token").write_text(jwt.encode(claims, SECRET, "HS256"))
    return folder / "token"


@pytest.mark.dcmtk
def test_storescu_shows_a_user_and_a_passcode(tmp_path: Path) -> None:
    """And asks for the positive response; a wrong one is rejected for good by the service provider (ACSE)."""
    users = [{"name": "ct", "passcode_hash": str(PasscodeHash.of("geheim"))}, {"name": "door"}]
    with running(tmp_path / "home", identity={"users": users, "required": True}) as gateway:
        for options, accepted in (
            (["-usr", "ct", "-pwd", "geheim", "-rsp"], True),
            (["-usr", "door", "-rsp"], True),
            (["-usr", "ct", "-pwd", "falsch"], False),
            (["-usr", "ct", "--empty-password"], False),
            (["-usr", "ct"], False),
            ([], False),
        ):
            done = storescu(gateway, *options)
            assert (done.returncode == 0) == accepted, (options, done.stderr)
            if not accepted:
                assert "Rejected Permanent" in done.stderr, options
                assert "Source: Service Provider (ACSE Related)" in done.stderr
        assert len(gateway.spool.arrivals(10)) == 2


@pytest.mark.dcmtk
def test_storescu_shows_a_token(tmp_path: Path, token_settings: dict[str, Any]) -> None:
    """One that holds, one that has expired, and what we do not check: Kerberos and SAML."""
    with running(tmp_path / "home", identity={"token": token_settings}) as gateway:
        good = storescu(gateway, "--jwt", str(token_file(tmp_path, seconds=60)), "-rsp")
        assert good.returncode == 0, good.stderr
        path = str(token_file(tmp_path, seconds=-3600))
        for option in ("--jwt", "--saml", "--kerberos"):
            refused = storescu(gateway, option, path)
            assert refused.returncode != 0
            assert "Rejected Permanent" in refused.stderr, option


PROFILES = """\
[[TransferSyntaxes]]
[Both]
TransferSyntax1 = LittleEndianExplicit
TransferSyntax2 = LittleEndianImplicit
[Explicit]
TransferSyntax1 = LittleEndianExplicit
[[PresentationContexts]]
[CT]
PresentationContext1 = CTImageStorage\\Both
[Private]
PresentationContext1 = CTImageStorage\\Explicit
PresentationContext2 = 1.3.6.1.4.1.9.9.9\\Explicit
[[SCPSCURoleSelection]]
[Roles]
Role1 = CTImageStorage\\BOTH
[[ExtendedNegotiation]]
[Storage]
ExtendedNegotiation1 = CTImageStorage\\020000000000
[[Profiles]]
[Plain]
PresentationContexts = CT
[Full]
PresentationContexts = CT
SCPSCURoleSelection = Roles
ExtendedNegotiation = Storage
[WithPrivate]
PresentationContexts = Private
"""


def profile(folder: Path, name: str) -> tuple[str, str, str]:
    """Options of storescu for an association profile."""
    (folder / "profiles.cfg").write_text(PROFILES)
    return "-xf", str(folder / "profiles.cfg"), name


@pytest.mark.dcmtk
def test_storescu_hears_our_order_of_transfer_syntaxes(tmp_path: Path) -> None:
    """Without a preference its own first; with one ours; and where ours has none of its own the context is refused."""
    for preference, chosen in (
        (None, "LittleEndianExplicit"),
        (["implicit-little-endian", EXPLICIT], "LittleEndianImplicit"),
        (["jpeg-lossless-sv1"], None),
    ):
        peers = [{"transfer_syntaxes": preference}] if preference else []
        with running(tmp_path / "home", peers=peers) as gateway:
            done = storescu(gateway, *profile(tmp_path, "Plain"))
            assert (done.returncode == 0) == (chosen is not None)
            if chosen:
                assert f"Accepted Transfer Syntax: ={chosen}" in done.stderr
            else:
                assert "No Acceptable Presentation Contexts" in done.stderr


@pytest.mark.dcmtk
def test_storescu_hears_roles_and_extended_negotiation(tmp_path: Path) -> None:
    """SCU of CT alone; level 2, signatures level 3, no coercion."""
    with running(tmp_path / "home") as gateway:
        done = storescu(gateway, *profile(tmp_path, "Full"))
        assert done.returncode == 0, done.stderr
        answer = done.stderr.split("INCOMING A-ASSOCIATE PDU", 1)[-1]
        answer = answer.split("A-ASSOCIATE-AC", 1)[-1]
        assert "Accepted SCP/SCU Role: SCU" in answer, answer
        assert "[0x02, 0x00, 0x03, 0x00, 0x00, 0x00]" in answer, answer


@pytest.mark.dcmtk
def test_storescu_proposes_a_private_class(tmp_path: Path) -> None:
    """Refused, and accepted by pattern."""
    for patterns, accepted in (([], 1), (["1.3.6.1.4.1.9.*"], 2)):
        with running(tmp_path / "home", private_sop_classes=patterns) as gateway:
            done = storescu(gateway, *profile(tmp_path, "WithPrivate"))
            assert done.returncode == 0, done.stderr
            assert done.stderr.count("(Accepted)") == accepted


# ---- pynetdicom calls us


def window_item(invoked: int, performed: int) -> AsynchronousOperationsWindowNegotiation:
    item = AsynchronousOperationsWindowNegotiation()
    item.maximum_number_operations_invoked, item.maximum_number_operations_performed = invoked, performed
    return item


def identity_item(kind: int, primary: bytes, secondary: bytes = b"") -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field, item.positive_response_requested = kind, primary, True
    if secondary:
        item.secondary_field = secondary
    return item


def test_pynetdicom_hears_every_answer(tmp_path: Path) -> None:
    """Window, role, extended negotiation, the response to its identity, and a special class of a general one."""
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = CT_IMAGE_STORAGE, b"\x02\x00\x00"
    common = SOPClassCommonExtendedNegotiation()
    common.sop_class_uid, common.service_class_uid = SPECIAL, STORAGE_SERVICE_CLASS
    common.related_general_sop_class_identification = [CT_IMAGE_STORAGE]
    identity = identity_item(2, b"ct", b"geheim")
    role = build_role(CT_IMAGE_STORAGE, scu_role=True, scp_role=True)
    users = [{"name": "ct", "passcode": "geheim"}]
    with running(tmp_path / "home", identity={"users": users}, max_outstanding=4) as gateway:
        ae = AE("PYNETDICOM")
        ae.add_requested_context(CT_IMAGE_STORAGE, EXPLICIT)
        ae.add_requested_context(SPECIAL, EXPLICIT)
        association = ae.associate(
            "127.0.0.1",
            gateway.settings.gateway.port,
            ext_neg=[window_item(9, 9), role, extended, common, identity],
        )
        assert association.is_established
        answer = association.acceptor
        assert answer.asynchronous_operations == (4, 1)
        assert (
            answer.role_selection[CT_IMAGE_STORAGE].scu_role,
            answer.role_selection[CT_IMAGE_STORAGE].scp_role,
        ) == (
            True,
            False,
        )
        assert answer.sop_class_extended[CT_IMAGE_STORAGE] == bytes.fromhex("020003000000")
        assert answer.user_identity is not None
        assert answer.user_identity.server_response == b""
        assert {str(context.abstract_syntax) for context in association.accepted_contexts} == {
            CT_IMAGE_STORAGE,
            SPECIAL,
        }
        association.release()


def test_pynetdicom_is_rejected_with_a_wrong_identity(tmp_path: Path) -> None:
    """1, 2, 1: PS3.7 Annex D.3.3.7.3."""
    with running(tmp_path / "home", identity={"users": [{"name": "ct", "passcode": "x"}]}) as gateway:
        ae = AE("PYNETDICOM")
        ae.add_requested_context(CT_IMAGE_STORAGE, EXPLICIT)
        rejections = []
        association = ae.associate(
            "127.0.0.1",
            gateway.settings.gateway.port,
            ext_neg=[identity_item(2, b"ct", b"y")],
            evt_handlers=[
                (evt.EVT_REJECTED, lambda event: rejections.append(event.assoc.acceptor.primitive))
            ],
        )
        assert association.is_rejected
        (answer,) = rejections
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 2, 1)


# ---- we call pynetdicom


@contextmanager
def pynetdicom_scp(handlers: list[Any]) -> Iterator[RemoteAe]:
    """CT in explicit VR, also as SCU; verification not."""
    ae = AE("PYNETDICOM")
    ae.add_supported_context(CT_IMAGE_STORAGE, EXPLICIT, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield RemoteAe("PYNETDICOM", "127.0.0.1", server.socket.getsockname()[1])
    finally:
        ae.shutdown()


def ask(remote: RemoteAe, **items: Any) -> Association:
    contexts = [(CT_IMAGE_STORAGE, (EXPLICIT,)), (CT_IMAGE_STORAGE, (IMPLICIT,))]
    return Association.request(remote, calling_ae_title="RELAY", contexts=contexts, **items)


def test_we_hear_what_pynetdicom_answers() -> None:
    """Roles, extended negotiation, window and identity, and it hears what we ask."""
    heard: dict[str, Any] = {}

    def user(event: evt.Event) -> tuple[bool, bytes | None]:
        heard["user"] = (event.user_id_type, event.primary_field, event.secondary_field)
        return True, b"done"

    def extended(event: evt.Event) -> dict[str, bytes]:
        heard["extended"] = dict(event.app_info)
        return {CT_IMAGE_STORAGE: b"\x01\x00\x00"}

    def common(event: evt.Event) -> dict[str, Any]:
        heard["common"] = {
            str(uid): item.related_general_sop_class_identification for uid, item in event.items.items()
        }
        return {}

    def operations(event: evt.Event) -> tuple[int, int]:
        heard["window"] = (event.nr_invoked, event.nr_performed)
        return 3, 1

    handlers = [
        (evt.EVT_USER_ID, user),
        (evt.EVT_SOP_EXTENDED, extended),
        (evt.EVT_SOP_COMMON, common),
        (evt.EVT_ASYNC_OPS, operations),
    ]
    with (
        pynetdicom_scp(handlers) as remote,
        ask(
            remote,
            # Of types 1 and 2 pynetdicom confirms none.
            identity=UserIdentity(5, True, b"a.b.c"),
            roles=[RoleSelection(CT_IMAGE_STORAGE, scu=True, scp=True)],
            extended=[ExtendedNegotiation(CT_IMAGE_STORAGE, b"\x02\x00\x00")],
            common_extended=[
                CommonExtendedNegotiation(
                    CT_IMAGE_STORAGE, STORAGE_SERVICE_CLASS, ("1.2.840.10008.5.1.4.1.1.2.1",)
                )
            ],
            window=8,
        ) as association,
    ):
        assert association.accepted == {(CT_IMAGE_STORAGE, EXPLICIT): 1}
        assert association.roles == {CT_IMAGE_STORAGE: (True, True)}
        assert association.extended == {CT_IMAGE_STORAGE: b"\x01\x00\x00"}
        assert association.window == 1  # what pynetdicom answers whatever its handler says
        assert association.identity_response == b"done"
    assert heard["user"] == (5, b"a.b.c", b"")
    assert heard["extended"] == {CT_IMAGE_STORAGE: b"\x02\x00\x00"}
    assert heard["common"] == {CT_IMAGE_STORAGE: ["1.2.840.10008.5.1.4.1.1.2.1"]}
    assert heard["window"] == (8, 1)


def test_a_peer_that_knows_none_of_it_answers_none_of_it() -> None:
    """Defaults hold then; and an identity that was to be confirmed is an end."""
    asked: dict[str, Any] = {
        "extended": [ExtendedNegotiation(CT_IMAGE_STORAGE, b"\x02\x00\x00")],
        "window": 8,
    }
    with pynetdicom_scp([]) as remote:
        with ask(remote, identity=UserIdentity(1, False, b"relay"), **asked) as association:
            assert (association.window, association.extended, association.roles) == (1, {}, {})
            assert association.identity_response is None
        with pytest.raises(IdentityNotConfirmed, match="did not confirm the user identity"):
            ask(remote, identity=UserIdentity(1, True, b"relay"), **asked)


def test_pynetdicom_rejects_our_identity() -> None:
    """And we hear it as any rejection; transient is what pynetdicom calls it."""
    with (
        pynetdicom_scp([(evt.EVT_USER_ID, lambda _event: (False, None))]) as remote,
        pytest.raises(AssociationRejected) as caught,
    ):
        ask(remote, identity=UserIdentity(1, False, b"relay"))
    assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 2, 1)


def test_our_two_ends_agree_on_a_window(tmp_path: Path) -> None:
    """The smaller of 9 and 4; asked for none there is none."""
    with running(tmp_path / "home", max_outstanding=4) as gateway:
        with ask(gateway.remote, window=9) as association:
            assert association.window == 4
        with ask(gateway.remote, window=0) as association:
            assert association.window == 4
        with ask(gateway.remote) as association:
            assert association.window == 1
