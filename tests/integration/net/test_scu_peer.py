"""The SCU tools reach a destination of the settings with its TLS and user identity."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme
from pynetdicom import AE, evt

from dicomrelay.cli.peer import find_peer
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.settings import load


def test_tls_identity_and_timeouts_of_a_destination_are_used(tmp_path: Path) -> None:
    """By its name; an address has none of them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    shown: list[tuple[int, bytes]] = []

    def identify(event: evt.Event) -> tuple[bool, bytes | None]:
        shown.append((event.user_id_type, event.primary_field))
        return True, None

    ae = AE("SECURE")
    ae.add_supported_context(VERIFICATION)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, ssl_context=context, evt_handlers=[(evt.EVT_USER_ID, identify)]
    )
    port = server.socket.getsockname()[1]
    (tmp_path / "relay.toml").write_text(
        f'[[destinations]]\nname = "secure"\nae_title = "SECURE"\nhost = "127.0.0.1"\nport = {port}\n'
        f'calling_ae_title = "ALICE_WS"\nresponse_timeout_s = 7\ntls = {{ ca = "{tmp_path / "ca.pem"}" }}\n'
        'identity = { user = "alice" }\n',
        "utf-8",
    )
    settings = load(config=tmp_path / "relay.toml", home=tmp_path)
    try:
        peer = find_peer(settings, "secure")
        with peer.associate([(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association:
            assert association.echo() == 0
            assert association.tls is not None
    finally:
        ae.shutdown()
    assert (peer.calling_ae_title, peer.timeouts.response_s) == ("ALICE_WS", 7)
    assert shown == [(1, b"alice")]
    plain = find_peer(settings, f"SECURE@127.0.0.1:{port}", "ME", 3)
    assert (plain.tls, plain.identity, plain.calling_ae_title) == (None, None, "ME")
    assert (plain.timeouts.response_s, plain.timeouts.connect_s) == (3, 3)
