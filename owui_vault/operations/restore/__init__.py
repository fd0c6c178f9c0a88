"""Restoring into a new directory."""
