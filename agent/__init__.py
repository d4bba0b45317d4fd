"""Reads a repository, drafts tests and edits with a model, and carries one issue from start to result."""
