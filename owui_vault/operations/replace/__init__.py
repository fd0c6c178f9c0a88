"""Restoring in place: the plan, and the swap while the instance is stopped."""
