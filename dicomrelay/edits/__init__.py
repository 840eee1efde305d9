"""Tag edits and de-identification of a copy (docs/design/edits.md). Pure, but for the key."""
