"""Taking a snapshot: capture, describe, store."""
