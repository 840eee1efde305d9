"""Bounds that another module knows too."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dicomrelay.cli.send import command
from dicomrelay.net.outgoing_window import MAX_OUTSTANDING
from dicomrelay.settings import DestinationSettings


def _destination(window: int) -> DestinationSettings:
    return DestinationSettings.model_validate(
        {
            "name": "pacs",
            "ae_title": "PACS",
            "host": "10.0.0.9",
            "port": 104,
            "asynchronous_operations": window,
        }
    )


def test_no_larger_window_can_be_set_than_is_ever_used() -> None:
    """Neither in the settings nor for `send --direct`."""
    assert _destination(MAX_OUTSTANDING).asynchronous_operations == MAX_OUTSTANDING
    with pytest.raises(ValidationError):
        _destination(MAX_OUTSTANDING + 1)
    (option,) = (each for each in command.params if each.name == "window")
    assert getattr(option.type, "max", None) == MAX_OUTSTANDING
