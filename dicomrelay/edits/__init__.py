"""Tag edits and de-identification of a copy (docs/design/edits.md). Pure, but for the key."""

from dicomrelay.edits.applying import Applied, apply
from dicomrelay.edits.profiles import profile
from dicomrelay.edits.values import Change, Profile

__all__ = ["Applied", "Change", "Profile", "apply", "profile"]
