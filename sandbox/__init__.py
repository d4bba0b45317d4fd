"""Runs untrusted code: environments, executions, patches. Imports nothing of the other packages."""
