"""The streamer: DICOMweb and frames over HTTP, from an archive."""
