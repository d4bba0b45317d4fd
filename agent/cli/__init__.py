"""The command line: one file a command, wired in `app`."""
