"""borg 1.2 and 1.4, run as a program."""
