"""The application's database as a file at rest, and what is in it."""
