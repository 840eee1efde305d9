"""C-MOVE and C-GET as SCP (docs/design/retrieve-scp.md)."""

from scp_gateway.retrieve.port import MovePort
from scp_gateway.retrieve.retrieve import GET_CLASSES, MOVE_CLASSES, Retrieve

__all__ = ["GET_CLASSES", "MOVE_CLASSES", "MovePort", "Retrieve"]
