"""Instances to one peer, over as many associations as it takes (docs/design/delivery.md)."""

from dicomrelay.delivery.deliver import deliver, deliver_over
from dicomrelay.delivery.values import Answer, Instance, Target

__all__ = ["Answer", "Instance", "Target", "deliver", "deliver_over"]
