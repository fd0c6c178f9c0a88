"""The components of an instance: database, uploads, vectors, models. Each knows its own files."""
