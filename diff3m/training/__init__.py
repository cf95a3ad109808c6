"""Training: configuration, films in memory, loss, loop."""
