"""An instance that runs in a container: found and examined."""
