"""What every operation works with: the parts of a vault, and what it remembers on this machine."""
