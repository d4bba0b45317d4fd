"""The steps that a selector's chain is made of."""
