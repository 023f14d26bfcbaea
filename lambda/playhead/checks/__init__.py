"""Checks: what was read, made, served and compared, and whether it agrees."""
