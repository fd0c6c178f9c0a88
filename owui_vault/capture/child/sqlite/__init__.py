"""SQLite databases in that process: pins, the write-ahead log, copies of one moment."""
