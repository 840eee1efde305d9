"""Modality performed procedure steps as SCP (docs/design/mpps.md)."""

from scp_gateway.performed.bounds import StepBounds
from scp_gateway.performed.service import PERFORMED_CLASSES, PerformedService

__all__ = ["PERFORMED_CLASSES", "PerformedService", "StepBounds"]
