"""The fixtures of tests/instance/conftest.py, for what a snapshot says of them."""

from tests.instance.conftest import at_rest, entries_of, left, manifest_of, mixed, moments, newest  # noqa: F401  fixtures: pytest looks here
