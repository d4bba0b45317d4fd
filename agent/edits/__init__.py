"""Edits as a model writes them: parse, match, apply, and say what was wrong."""
