"""The simulated Kubernetes API server: a sans-IO core, and an HTTPS shell around it.

A simulator, named so: it serves the local stack, the demo and the tests, never the runtime path.
"""
