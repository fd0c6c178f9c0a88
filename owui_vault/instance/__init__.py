"""Finds an instance and examines it: layout, databases, vectors, secret key, processes."""
