"""Data sets, all read through one manifest."""
