"""What the core's outputs add up to: trades and statistics. It never computes a position and never decides."""
