"""Patterns with * and ? mean what fnmatch means by them, and never take long."""

from __future__ import annotations

from fnmatch import fnmatchcase
from time import process_time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.routing.rules import glob_matches

BRISK = settings(max_examples=1000, deadline=None)
# Few letters, so that many fit; what other matchers take for more than a letter; line ends.
letters = "aab.1[]!-\\^$\n"


@BRISK
@given(st.text("*?" + letters, max_size=12), st.text(letters + "*?", max_size=16))
@example("*a", "aa\n")
@example("", "")
@example("**?", "a")
def test_what_fnmatch_matches_and_nothing_else(pattern: str, text: str) -> None:
    """But for [, which is a letter like others."""
    assert Wildcards(pattern).matches(text) == fnmatchcase(text, pattern.replace("[", "[[]"))


@pytest.mark.parametrize("pattern", ["1.2*1*1*1*1*1*1*1*2", "*1" * 31 + "2", "*" * 63 + "2", "*?" * 31 + "2"])
def test_no_pattern_takes_long(pattern: str) -> None:
    """A regular expression with .* took six seconds for one such UID, and no other association moved."""
    uid = "1.2" + "1" * 61
    began = process_time()
    for _ in range(20):
        assert not Wildcards(pattern).matches(uid)
        assert not glob_matches(pattern, uid)
    assert process_time() - began < 1
