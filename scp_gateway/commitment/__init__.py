"""Storage commitment as SCP (docs/design/commitment-scp.md)."""

from scp_gateway.commitment.commitments import Commitments, nothing_came

__all__ = ["Commitments", "nothing_came"]
