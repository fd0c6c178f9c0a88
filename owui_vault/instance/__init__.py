"""Finding an instance and knowing it: layout, databases, vectors, secret key, processes."""
