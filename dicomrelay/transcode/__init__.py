"""Copies of instances in other transfer syntaxes, without loss (docs/design/transcode.md)."""

from dicomrelay.transcode.syntaxes import producible
from dicomrelay.transcode.values import Copy, Source, TranscodeLimits
from dicomrelay.transcode.workshop import Workshop, sweep

__all__ = ["Copy", "Source", "TranscodeLimits", "Workshop", "producible", "sweep"]
