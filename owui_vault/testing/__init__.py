"""Conformance suites and fakes, for us and for whoever writes an engine or a quiescer."""
