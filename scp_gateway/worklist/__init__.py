"""The Modality Worklist as SCP (docs/design/worklist.md)."""

from scp_gateway.worklist.find import WORKLIST_MODEL, Sees, WorklistService

__all__ = ["WORKLIST_MODEL", "Sees", "WorklistService"]
