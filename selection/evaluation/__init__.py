"""Which patches resolve their issues, by the labels: the official harness, or runoff's own sandbox with the same parsers."""
