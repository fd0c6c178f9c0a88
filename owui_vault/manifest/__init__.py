"""What a snapshot says of its contents, and whether that is true."""
