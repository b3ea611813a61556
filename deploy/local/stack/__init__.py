"""The local stack: every part as a real process on loopback, started and stopped in order."""
