"""The DICOM Conformance Statement: Annex N of PS3.2, from the registries and the settings (docs/design/conformance.md)."""
