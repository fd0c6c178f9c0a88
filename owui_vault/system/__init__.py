"""The only doors to processes, the clock and tricks of the file system."""
