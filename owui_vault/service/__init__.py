"""What runs unattended: when a plan is due, what it did, and whether everything is as new as it should be."""
