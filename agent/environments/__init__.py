"""Finds out how a repository is set up and tested, from its files alone: nothing is checked out, nothing executed."""
