"""Every name the Kubernetes side of the contract uses: API groups, finalizers, labels,
annotations, reasons.

They are the incumbent's (reference §1, §2, §6.10, §6.11): node agents, users' manifests and
alert rules already rely on them. Written once, here.
"""

from typing import Final

# --- API ------------------------------------------------------------------------------------------

GROUP: Final = "network.alibabacloud.com"
VERSION: Final = "v1beta1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND_PODENI: Final = "PodENI"
KIND_PODNETWORKING: Final = "PodNetworking"

# --- finalizers -----------------------------------------------------------------------------------

FINALIZER: Final = "network.alibabacloud.com/pod-eni"
FINALIZER_LEGACY: Final = "pod-eni"  # the product document's; honoured and removed, never written
FINALIZERS: Final = frozenset({FINALIZER, FINALIZER_LEGACY})

# --- labels ---------------------------------------------------------------------------------------

LABEL_NODE: Final = "k8s.aliyun.com/node"  # on a PodENI: the node it is bound on
LABEL_IGNORE: Final = "k8s.aliyun.com/ignore-by-terway"  # "true" exactly; on Pods and nodes
LABEL_EXCLUSIVE_MODE: Final = (
    "k8s.aliyun.com/exclusive-mode-eni-type"  # on nodes: default | eniOnly
)
LABEL_TERWAY_CONFIG: Final = "terway-config"  # on nodes: names an overlay of eni-config
LABEL_NODE_TYPE: Final = "type"  # "virtual-kubelet": not a node of ours
LABEL_ZONE: Final = "topology.kubernetes.io/zone"
LABEL_ZONE_LEGACY: Final = "failure-domain.beta.kubernetes.io/zone"
LABEL_REGION: Final = "topology.kubernetes.io/region"
LABEL_INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"

# --- annotations ----------------------------------------------------------------------------------

ANNOTATION_POD_UID: Final = "k8s.aliyun.com/pod-uid"  # on a PodENI: whom the node agent may serve
ANNOTATION_POD_ENI: Final = "k8s.aliyun.com/pod-eni"  # on a Pod: a Go-parsable true
ANNOTATION_POD_NETWORKS: Final = "k8s.aliyun.com/pod-networks"
ANNOTATION_POD_NETWORKS_REQUEST: Final = "k8s.aliyun.com/pod-networks-request"
ANNOTATION_POD_NETWORKING: Final = "k8s.aliyun.com/pod-networking"
ANNOTATION_TRUNK_ON: Final = "k8s.aliyun.com/trunk-on"  # on a node: the id of its trunk ENI
ANNOTATION_MAX_MEMBER_ENI: Final = "k8s.aliyun.com/max-member-eni-ip"
ANNOTATION_CRD_VERSION: Final = "crd.network.alibabacloud.com/version"
NAMESPACE_LABEL_POD_ENI: Final = "k8s.aliyun.com/pod-eni"  # "false": the namespace opted out

# --- extended resources ---------------------------------------------------------------------------

RESOURCE_MEMBER_ENI: Final = "aliyun/member-eni"
RESOURCE_ENI: Final = "aliyun/eni"

# --- well-known objects ---------------------------------------------------------------------------

SYSTEM_NAMESPACE: Final = "kube-system"
ENI_CONFIG: Final = "eni-config"  # ConfigMap in kube-system
ENI_CONFIG_KEY: Final = "eni_conf"
INCUMBENT: Final = "terway-controlplane"  # its Deployment, Lease and webhook configurations

# --- PodENI and PodNetworking values --------------------------------------------------------------

PHASE_INITIAL: Final = ""
PHASE_BINDING: Final = "Binding"
PHASE_BIND: Final = "Bind"
PHASE_DETACHING: Final = "Detaching"
PHASE_UNBIND: Final = "Unbind"
PHASE_DELETING: Final = "Deleting"

ENI_BIND: Final = "Bind"
ENI_UNBIND: Final = "Unbind"
ENI_DELETED: Final = "Deleted"

PODNETWORKING_READY: Final = "Ready"
PODNETWORKING_FAIL: Final = "Fail"

# --- events (events.k8s.io/v1; reference §6.11) ---------------------------------------------------

REPORTING_CONTROLLER: Final = "eni-ledger"  # followed by /<room>

REASON_CREATE_ENI_SUCCEED: Final = "CreateENISucceed"
REASON_CREATE_ENI_FAILED: Final = "CreateENIFailed"
REASON_ATTACH_ENI_SUCCEED: Final = "AttachENISucceed"
REASON_ATTACH_ENI_FAILED: Final = "AttachENIFailed"
REASON_DETACH_ENI_SUCCEED: Final = "DetachENISucceed"
REASON_DETACH_ENI_FAILED: Final = "DetachENIFailed"
REASON_DELETE_ENI_SUCCEED: Final = "DeleteENISucceed"
REASON_DELETE_ENI_FAILED: Final = "DeleteENIFailed"
REASON_UPDATE_PODENI_FAILED: Final = "UpdatePodENIFailed"
REASON_DELETE_PODENI_FAILED: Final = "DeletePodENIFailed"
REASON_POD_CREATE_FAILED: Final = "PodCreateFailed"
REASON_POD_DELETE_FAILED: Final = "PodDeleteFailed"
REASON_SYNC_PODNETWORKING_SUCCEED: Final = "SyncPodNetworkingSucceed"
REASON_SYNC_PODNETWORKING_FAILED: Final = "SyncPodNetworkingFailed"
REASON_CONFIG_ERROR: Final = "ConfigError"

ACTION_CREATE_ENI: Final = "CreateENI"
ACTION_ATTACH_ENI: Final = "AttachENI"
ACTION_DETACH_ENI: Final = "DetachENI"
ACTION_DELETE_ENI: Final = "DeleteENI"
ACTION_UPDATE_PODENI: Final = "UpdatePodENI"
ACTION_SYNC_PODNETWORKING: Final = "SyncPodNetworking"
ACTION_CONFIG: Final = "Config"
ACTION_CREATE_POD: Final = "CreatePod"
ACTION_DELETE_POD: Final = "DeletePod"
