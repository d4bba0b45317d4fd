"""Talking to models: messages, clients, retries, limits and the ledger."""
