"""The audit API over HTTP and the web console: the same questions as the command line, read-only."""
