"""The API of Docker and Podman: its clients, and the meaning of its answers."""
