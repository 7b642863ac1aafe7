"""What runs report while they work and when they end: progress, logs, metrics, notifications, traces."""
