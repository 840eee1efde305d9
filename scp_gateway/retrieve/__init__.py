"""C-MOVE and C-GET as SCP (docs/design/retrieve-scp.md)."""

from scp_gateway.retrieve.port import MovePort
from scp_gateway.retrieve.retrieve import Retrieve

__all__ = ["MovePort", "Retrieve"]
