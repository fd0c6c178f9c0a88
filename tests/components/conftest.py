"""The fixtures of tests/instance/conftest.py, for the parts of an instance."""

from tests.instance.conftest import at_rest, index_folder, left, mixed, moments, newest  # noqa: F401  fixtures: pytest looks here
