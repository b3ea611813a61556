"""The genuine Kubernetes API: kube-apiserver and etcd, compiled once a machine, run on loopback."""
