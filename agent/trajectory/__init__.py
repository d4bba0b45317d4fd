"""Multi-turn trajectories: plain async functions over journaled effects."""
