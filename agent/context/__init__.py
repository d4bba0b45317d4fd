"""From a whole repository to the files that a trajectory sees: relevance, ranking, packing."""
