"""Values of the DICOM standard: UIDs, registries, status codes, header scan, Part 10 file meta. No I/O."""
