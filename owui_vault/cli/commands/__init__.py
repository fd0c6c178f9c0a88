"""One module per group of commands: each sends a request to the vault and prints the result."""
