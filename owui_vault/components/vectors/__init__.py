"""Chroma and its HNSW indexes."""
