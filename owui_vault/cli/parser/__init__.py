"""The grammar of the command line: words to requests."""
