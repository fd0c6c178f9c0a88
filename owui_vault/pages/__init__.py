"""The status for other eyes: Prometheus's text and an HTML page, made of values alone."""
