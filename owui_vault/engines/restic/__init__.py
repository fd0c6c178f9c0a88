"""restic, 0.14 and later."""
