"""What a C-GET proposes."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.query_models import PATIENT_ROOT, STUDY_ROOT
from dicomrelay.dicom.sop_classes import is_storage_sop_class, storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax, transfer_syntaxes
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.retrieve_contexts import (
    COMMON_STORAGE,
    MAX_IN_ONE_CONTEXT,
    retrieve_contexts,
    transfer_syntax_groups,
)

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize("count", range(1, 128))
def test_groups_hold_every_transfer_syntax_once(count: int) -> None:
    """Never more groups than asked for, and none that DCMTK would end the association over."""
    groups = transfer_syntax_groups(count)
    flat = [uid for group in groups for uid in group]
    assert len(groups) <= count
    assert max(map(len, groups)) <= MAX_IN_ONE_CONTEXT < 50
    assert len(flat) == len(set(flat))
    left_out = transfer_syntaxes().keys() - set(flat)
    assert not left_out or count < 3
    assert all(transfer_syntax(uid).retired for uid in left_out) or count == 1
    assert all(not transfer_syntax(uid).is_encapsulated for uid in groups[0]) or count == 1


def test_by_default_the_common_classes_share_the_association() -> None:
    """All of them storage SOP classes, each in as many contexts as the others, the model's context first."""
    contexts, roles = retrieve_contexts(STUDY_ROOT)
    assert contexts[0][0] == STUDY_ROOT.get
    assert len(contexts) == 1 + 4 * len(COMMON_STORAGE) <= 128
    assert all(is_storage_sop_class(uid) for uid in COMMON_STORAGE)
    assert len(set(COMMON_STORAGE)) == len(COMMON_STORAGE) == 31
    assert {(role.scu, role.scp) for role in roles} == {(False, True)}
    assert {role.sop_class_uid for role in roles} == set(COMMON_STORAGE)


def test_a_class_that_is_named_gets_a_context_for_each_compression() -> None:
    """So what is kept compressed comes as it is kept."""
    contexts, roles = retrieve_contexts(PATIENT_ROOT, [CT, CT])
    assert contexts[0][0] == PATIENT_ROOT.get
    alone = [syntaxes for uid, syntaxes in contexts if uid == CT and len(syntaxes) == 1]
    assert len(alone) == len(transfer_syntaxes()) - 2
    assert len(roles) == 1


def test_more_classes_than_contexts_are_refused() -> None:
    """127 fit, one transfer syntax group each."""
    many = list(storage_sop_classes())
    contexts, _ = retrieve_contexts(STUDY_ROOT, many[:127])
    assert len(contexts) == 128
    with pytest.raises(ConfigurationError, match="room for 127"):
        retrieve_contexts(STUDY_ROOT, many[:128])
