"""Pausing and stopping containers of Docker and Podman."""
