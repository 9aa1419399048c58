"""The node's configuration files and command lines, as text."""

import json
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.paths import cache_dir
from dev.cluster.settings import BRIDGE, CLUSTER_DOMAIN, NODE_NAME, RUN_FOLDER, Settings

CONTAINERD_SOCKET = RUN_FOLDER / "containerd.sock"
HEALTH_PORT = 10248
PAUSE_IMAGE = "docker.io/library/modelyard-pause:local"
# Ports that the node listens on, at the bridge's address.
PORTS = {
    "kube-apiserver": (6443,),
    "kubelet": (10250, HEALTH_PORT),
    "kube-proxy": (10249, 10256),
    "coredns": (53,),
}


@dataclass(frozen=True)
class Folders:
    """Where a node keeps its files: below the state folder, but for images."""

    state: Path

    @property
    def kubelet(self) -> Path:
        """Volumes and plug-ins."""
        return self.state / "kubelet"

    @property
    def containerd(self) -> Path:
        """Images: kept, as loading them again takes longer than all the rest."""
        return cache_dir() / "containerd"

    @property
    def config(self) -> Path:
        """The files that this module renders."""
        return self.state / "config"

    @property
    def pod_logs(self) -> Path:
        """What containers print."""
        return self.state / "pod-logs"


def containerd(folders: Folders, cni_plugins: Path) -> str:
    """Return containerd's configuration: nothing outside our own folders."""
    return f"""version = 3
root = '{folders.containerd}'
state = '{RUN_FOLDER}/containerd'

[grpc]
  address = '{CONTAINERD_SOCKET}'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{PAUSE_IMAGE}'

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{cni_plugins}']
  conf_dir = '{folders.config}/cni'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = '{RUN_FOLDER}/runc'

[plugins.'io.containerd.nri.v1.nri']
  disable = true

[plugins.'io.containerd.internal.v1.opt']
  path = '{folders.containerd}/opt'

[plugins.'io.containerd.shim.v1.manager']
  socket_dir = '{RUN_FOLDER}/shims'
"""


def cni(settings: Settings, folders: Folders) -> str:
    """Return the pod network: one bridge, addresses from the pod range."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{folders.state}/addresses",
            "ranges": [[{"subnet": settings.pod_cidr}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "modelyard", "plugins": [bridge, portmap]}, indent=2)


def kubelet(settings: Settings, folders: Folders, pki: Path) -> str:
    """Return the kubelet's configuration."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": settings.address,
            "healthzBindAddress": settings.address,
            "healthzPort": HEALTH_PORT,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/kubelet-server.crt",
            "tlsPrivateKeyFile": f"{pki}/kubelet-server.key",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "clusterDNS": [settings.address],
            "clusterDomain": CLUSTER_DOMAIN,
            # Pods ask CoreDNS only; it forwards to the machine's resolvers.
            "resolvConf": "/dev/null",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "serializeImagePulls": False,
            # An image that is collected could not be pulled again: there may be no registry.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "podLogsDir": str(folders.pod_logs),
            "volumePluginDir": f"{folders.kubelet}/volume-plugins",
        },
        indent=2,
    )


def kube_proxy(settings: Settings, kubeconfig: Path) -> str:
    """Return kube-proxy's configuration."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": NODE_NAME,
            "mode": "iptables",
            "clusterCIDR": settings.pod_cidr,
            "healthzBindAddress": f"{settings.address}:10256",
            "metricsBindAddress": f"{settings.address}:10249",
            # Answers of a pod on the same bridge must come back through the machine to be translated.
            "iptables": {"masqueradeAll": True, "localhostNodePorts": True},
            "conntrack": {"maxPerCore": 0},
        },
        indent=2,
    )


def corefile(settings: Settings, kubeconfig: Path, resolvers: str) -> str:
    """Return CoreDNS's configuration.

    Args:
        settings: of the node.
        kubeconfig: of the user system:coredns.
        resolvers: the text of the machine's /etc/resolv.conf.
    """
    has_resolver = any(line.split()[:1] == ["nameserver"] for line in resolvers.splitlines())
    forward = "    forward . /etc/resolv.conf\n" if has_resolver else ""
    return f""".:53 {{
    bind {settings.address}
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        fallthrough in-addr.arpa ip6.arpa
    }}
{forward}}}
"""


def controller_manager_flags(settings: Settings, folders: Folders, kubeconfig: Path, pki: Path) -> list[str]:
    """Return kube-controller-manager's flags."""
    return [
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-account.key",
        f"--cluster-cidr={settings.pod_cidr}",
        "--allocate-node-cidrs=false",
        f"--flex-volume-plugin-dir={folders.kubelet}/volume-plugins",
    ]


def scheduler_flags(kubeconfig: Path) -> list[str]:
    """Return kube-scheduler's flags."""
    return [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"]


def kubelet_flags(settings: Settings, folders: Folders, kubeconfig: Path) -> list[str]:
    """Return the kubelet's flags."""
    return [
        f"--config={folders.config}/kubelet.json",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={settings.address}",
        f"--root-dir={folders.kubelet}",
    ]
