"""One command each: its request to the vault, and the answer to the screen."""
