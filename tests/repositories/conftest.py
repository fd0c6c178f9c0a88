"""The fixtures of tests/operations/conftest.py, for what must hold in every repository."""

from tests.operations.conftest import make_engine  # noqa: F401  fixtures: pytest looks here
