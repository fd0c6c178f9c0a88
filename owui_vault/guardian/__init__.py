"""The bounded hold: an intent is written down first, and a guardian resumes the instance when we cannot."""
