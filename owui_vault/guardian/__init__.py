"""The bounded hold: the intent is recorded first, and a guardian resumes the instance if we cannot."""
