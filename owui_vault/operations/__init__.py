"""The operations of a vault, one file each, and the decisions that are made once for all engines."""
