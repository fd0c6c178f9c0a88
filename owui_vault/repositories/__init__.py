"""One repository: which one it is, what it holds, which snapshot is meant, what to keep of it."""
