"""Storage commitment as SCP (docs/design/commitment-scp.md)."""

from scp_gateway.commitment.commitments import Commitments

__all__ = ["Commitments"]
