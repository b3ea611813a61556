"""The audit API over HTTP: the same questions as the command line, read-only, with authentication."""
