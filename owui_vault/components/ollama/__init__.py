"""Ollama's models."""
