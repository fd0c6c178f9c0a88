"""The process that takes the instant. Nothing but the standard library and `system` below it."""
