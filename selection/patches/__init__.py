"""Patches as text: what they change, in which forms they are compared, and the files that they touch."""
