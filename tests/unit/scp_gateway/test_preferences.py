"""What people write in the settings."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import PeerSettings
from scp_gateway.admission import Peers
from scp_gateway.preferences import transfer_syntax_uids
from tests.support.data_sets import EXPLICIT, IMPLICIT, JPEG_LOSSLESS


@pytest.mark.parametrize(
    ("name", "uid"),
    [
        (IMPLICIT, IMPLICIT),
        ("explicit-little-endian", EXPLICIT),
        ("Explicit VR Little Endian", EXPLICIT),
        ("ExplicitVRLittleEndian", EXPLICIT),
        ("implicit little endian", IMPLICIT),
        ("explicit-big-endian", "1.2.840.10008.1.2.2"),
        ("jpeg-lossless-sv1", JPEG_LOSSLESS),
        ("RLELossless", "1.2.840.10008.1.2.5"),
        ("JPEG2000Lossless", "1.2.840.10008.1.2.4.90"),
    ],
)
def test_a_transfer_syntax_by_uid_name_or_keyword(name: str, uid: str) -> None:
    assert transfer_syntax_uids([name], "x") == (uid,)


def test_every_transfer_syntax_is_known_by_its_name_and_no_two_share_one() -> None:
    for uid, syntax in transfer_syntaxes().items():
        assert transfer_syntax_uids([syntax.name], "x") == (uid,), syntax.name


@pytest.mark.parametrize("name", ["", "explicit", "1.2.3", "1.2.840.10008.1.2.99", "JPEG"])
def test_what_is_none_is_named_with_its_place(name: str) -> None:
    """Not guessed, not passed over."""
    with pytest.raises(ConfigurationError) as caught:
        Peers([PeerSettings(), PeerSettings(transfer_syntaxes=[EXPLICIT, name])])
    assert str(caught.value).startswith(f"peers.1.transfer_syntaxes: {name!r} is no transfer syntax")
