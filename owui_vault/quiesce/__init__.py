"""Makes an instance quiet and resumes it; the guardian does the latter if we die."""
