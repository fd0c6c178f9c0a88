"""restic and borg behind one interface."""
