"""A repository's own tests: which of them have to do with a change, and how each of them ends."""
