"""Chooses between candidates, and evaluates and reports what was chosen."""
