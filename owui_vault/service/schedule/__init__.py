"""What makes somebody else call `run`: cron or systemd."""
