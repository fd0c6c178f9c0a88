"""Making an instance quiet and lively again, and the guardian that does the latter when we die."""
