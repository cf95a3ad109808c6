"""Checkpoint folders and where they come from."""
