"""Lesions painted into normal films."""
