"""Simulators of the cluster's other actors, played over the Kubernetes HTTP API.

A bare API server (the simulated one, or a genuine one without controllers) does nothing by itself:
here are a scheduler, the StatefulSet, Deployment and garbage controllers, and the kubelet with the
node agent of every node. Each decides by a pure function over what was last seen; `cluster` looks
and acts. They do what a demonstration and the tests need, and say in their modules what they don't.
"""
