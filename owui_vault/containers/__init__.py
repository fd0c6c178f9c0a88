"""The interface of Docker and Podman: what asks it, and what its answers mean."""
