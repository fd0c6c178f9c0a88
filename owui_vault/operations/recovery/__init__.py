"""What makes a restore in place safe at any moment: swap, rollback, previous data, recover."""
