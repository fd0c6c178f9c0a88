"""What people read: reports in plain English, progress, errors."""
