"""Data directories of Open WebUI for tests, demonstrations and benchmarks."""
