"""Time windows: how they are written, and which minutes lie in them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dicomrelay.routing import closed, resolve
from dicomrelay.settings import DestinationSettings
from dicomrelay.settings.windows import parse_window


def _at(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        ("08:30-17:00", ["08:30", "16:59"], ["08:29", "17:00", "00:00"]),
        ("00:00-24:00", ["00:00", "23:59"], []),
        ("18:00-24:00", ["18:00", "23:59"], ["00:00", "17:59"]),
        ("23:59-00:00", ["23:59"], ["00:00", "23:58"]),
    ],
)
def test_which_minutes_lie_in_a_window(window: str, inside: list[str], outside: list[str]) -> None:
    """The last one named does not."""
    parsed = parse_window(window)
    assert str(parsed) == window
    assert all(parsed.holds(_at(time)) for time in inside)
    assert not any(parsed.holds(_at(time)) for time in outside)


@pytest.mark.parametrize(
    "text", ["", "22-6", "22:00", "24:00-06:00", "22:00-06:60", "06:00-06:00", "22:00-24:01", "٢٢:00-06:00"]
)
def test_what_is_no_window_is_told(text: str) -> None:
    """With the setting's name and what to write."""
    with pytest.raises(ValidationError, match=r"windows[\s\S]*no time window"):
        DestinationSettings(name="pacs", ae_title="P", host="h", windows=[text])


def test_a_destination_is_open_in_any_of_its_windows_and_always_without() -> None:
    """What `closed` says of several."""
    night = DestinationSettings(name="night", ae_title="P", host="h", windows=["22:00-06:00", "12:00-13:00"])
    always = DestinationSettings(name="always", ae_title="P", host="h")
    open_at = {text: resolve("night", [night]).is_open(_at(text)) for text in ("23:00", "12:30", "09:00")}
    assert open_at == {"23:00": True, "12:30": True, "09:00": False}
    assert closed([night, always], _at("09:00")) == {"night"}
    assert closed([night, always], _at("01:00")) == frozenset()
