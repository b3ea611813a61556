"""Names of the Kubernetes API that several rooms use: the API group, well-known objects, annotations.

They are the incumbent's (reference §1, §2, §6.11): node agents, users' manifests and alert rules rely on
them. Those that decisions are made by are in `ledger/rules`, those of events in `reconciler/pod_events.py`.
"""

from typing import Final

# --- API ------------------------------------------------------------------------------------------

GROUP: Final = "network.alibabacloud.com"
VERSION: Final = "v1beta1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND_PODENI: Final = "PodENI"
KIND_PODNETWORKING: Final = "PodNetworking"

# --- on objects -----------------------------------------------------------------------------------

FINALIZER: Final = "network.alibabacloud.com/pod-eni"
ANNOTATION_POD_NETWORKS: Final = "k8s.aliyun.com/pod-networks"
ANNOTATION_POD_NETWORKING: Final = "k8s.aliyun.com/pod-networking"
NAMESPACE_LABEL_POD_ENI: Final = "k8s.aliyun.com/pod-eni"  # "false": the namespace opted out

#: Ours, on the incumbent's Deployment: its configuration is being changed, and replicas that read the
#: earlier one run until they are restarted.
ANNOTATION_RESTART_DUE: Final = "eni-ledger/restart-due"

# --- well-known objects ---------------------------------------------------------------------------

SYSTEM_NAMESPACE: Final = "kube-system"
ENI_CONFIG: Final = "eni-config"  # ConfigMap in kube-system
ENI_CONFIG_KEY: Final = "eni_conf"
INCUMBENT: Final = "terway-controlplane"  # its Deployment, Lease and webhook configurations

# --- events (events.k8s.io/v1) --------------------------------------------------------------------

REPORTING_CONTROLLER: Final = "eni-ledger"  # followed by /<room>
