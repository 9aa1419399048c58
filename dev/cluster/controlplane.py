"""etcd and the API server: a whole control plane for tests, and the first half of a node."""

from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from dev.cluster import kubeconfig
from dev.cluster.api import Api, wait_until
from dev.cluster.certificates import Authority, KeyPair
from dev.cluster.paths import write_if_changed
from dev.cluster.processes import Processes

_AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")
_READY_SECONDS = 90


@dataclass(frozen=True)
class ControlPlane:
    """Where a control plane keeps its files and listens.

    Attributes:
        folder: certificates, etcd's data, kubeconfig, audit log.
        address: of the API server; a loopback address means that no node will join.
        port: of the API server.
        service_cidr: the range of Service addresses.
        nodes: whether kubelets join.
    """

    folder: Path
    address: str
    port: int
    service_cidr: str
    nodes: bool

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON line for every request that people, our operator or a test sent."""
        return self.folder / "audit.log"

    @property
    def etcd_socket(self) -> str:
        """The URL of etcd: a socket in our folder, so that nobody else reaches it."""
        return f"unix://{self.folder}/etcd.sock"

    def authority(self) -> Authority:
        """Return the certificate authority of this control plane."""
        return Authority(self.folder / "pki")

    def api(self) -> Api:
        """Return the administrator's access."""
        authority = self.authority()
        return Api(
            self.server, authority.root.certificate, authority.client("admin", "modelyard-admin", "system:masters")
        )


def first_service_address(service_cidr: str) -> str:
    """Return the address of the Service `kubernetes`."""
    return str(ip_network(service_cidr)[1])


def etcd_command(plane: ControlPlane, binary: Path) -> list[str]:
    """Return etcd's command line; durability is traded for speed."""
    peers = f"unix://{plane.folder}/etcd-peers.sock"
    return [
        str(binary),
        "--name=modelyard",
        f"--data-dir={plane.folder}/etcd",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={plane.etcd_socket}",
        f"--advertise-client-urls={plane.etcd_socket}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=modelyard={peers}",
    ]


def apiserver_command(plane: ControlPlane, binary: Path) -> list[str]:
    """Return the API server's command line; issues the certificates that it names."""
    authority = plane.authority()
    serving = authority.server(
        "kube-apiserver",
        [
            *("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
            *("localhost", "127.0.0.1", plane.address, first_service_address(plane.service_cidr)),
        ],
    )
    tokens = authority.signing_key("service-account")
    root = authority.root.certificate
    return [
        str(binary),
        f"--etcd-servers={plane.etcd_socket}",
        f"--bind-address={plane.address}",
        f"--secure-port={plane.port}",
        f"--advertise-address={plane.address}",
        f"--service-cluster-ip-range={plane.service_cidr}",
        f"--client-ca-file={root}",
        *_files("tls-cert-file", "tls-private-key-file", serving),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={tokens.certificate}",
        f"--service-account-signing-key-file={tokens.key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--profiling=false",
        f"--audit-policy-file={_AUDIT_POLICY}",
        f"--audit-log-path={plane.audit_log}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=1",
        *(_kubelet_access(authority) if plane.nodes else ["--endpoint-reconciler-type=none"]),
    ]


def start(plane: ControlPlane, processes: Processes, binaries: dict[str, Path]) -> None:
    """Start what is not running and wait until the API server is ready.

    Raises:
        ClusterError: one of the two ended, or is not ready in time.
    """
    plane.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    api = plane.api()
    write_if_changed(plane.kubeconfig, kubeconfig.render(api))
    processes.ensure("etcd", etcd_command(plane, binaries["etcd"]))
    processes.ensure(
        "kube-apiserver", apiserver_command(plane, binaries["kube-apiserver"]), configuration=[_AUDIT_POLICY]
    )

    def ready() -> bool:
        processes.require("etcd")
        processes.require("kube-apiserver")
        return api.answers("/readyz") and api.get("/api/v1/namespaces/default") is not None

    wait_until(ready, f"the API server on {plane.server}", seconds=_READY_SECONDS)


def stop(processes: Processes) -> None:
    """End both."""
    processes.stop("kube-apiserver")
    processes.stop("etcd")


def _kubelet_access(authority: Authority) -> list[str]:
    client = authority.client("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    return [
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={authority.root.certificate}",
        *_files("kubelet-client-certificate", "kubelet-client-key", client),
    ]


def _files(certificate_flag: str, key_flag: str, pair: KeyPair) -> list[str]:
    return [f"--{certificate_flag}={pair.certificate}", f"--{key_flag}={pair.key}"]
