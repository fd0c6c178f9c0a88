"""The conformance suite of engines, and engines for tests."""
