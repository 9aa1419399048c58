"""A Kubernetes node on the bare machine: everything is a host process below one state folder."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.cluster import config, containerd, controlplane, kubeconfig, machine, tools
from dev.cluster import settings as node_settings
from dev.cluster.api import Api, wait_until
from dev.cluster.config import Folders
from dev.cluster.controlplane import ControlPlane
from dev.cluster.dns import resolves
from dev.cluster.errors import ClusterError
from dev.cluster.paths import Report, cache_dir, locked, state_dir, write_if_changed
from dev.cluster.processes import Processes, stop
from dev.cluster.settings import NODE_NAME, RUN_FOLDER, Settings
from dev.images import pause

_COREDNS_ACCESS = Path(__file__).with_name("coredns-access.yaml")
_API_PORT = config.PORTS["kube-apiserver"][0]
_READY_SECONDS = 90
# In the order in which they end; containers and shims go after the kubelet.
_PROCESSES = (
    *("kubelet", "containerd", "kube-proxy", "coredns"),
    *("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"),
)
_NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"


class Node:
    """The cluster of one state folder."""

    def __init__(self, state: Path, report: Report) -> None:
        self._state = state
        self._folders = Folders(state)
        self._pki = state / "pki"
        self._processes = Processes(state / "processes")
        self._report = report

    def up(self) -> None:
        """Start what is not running; returns when pods can be made.

        Raises:
            ClusterError: something is missing, in use, or did not become ready.
        """
        machine.require_root()
        start = time.monotonic()
        machine.install_packages(self._report)
        binaries = tools.ensure(tools.NODE, self._report)
        pause_archive = pause.ensure_archive(self._report)
        with self._alone():
            settings = self._claim()
            machine.ensure_bridge(settings)
            self._check_ports(settings)
            fresh = not self._folders.kubelet.exists()
            containerd.start(self._folders, self._processes, binaries, fresh=fresh)
            plane = _plane(self._state, settings)
            self._report("starting the control plane")
            controlplane.start(plane, self._processes, binaries)
            self._start_controllers(plane, settings, binaries)
            self.load(pause_archive)
            self._report("starting the node")
            self._start_kubelet(plane, settings, binaries)
            self._start_network(plane, settings, binaries)
            self._wait_until_ready(plane.api(), settings)
        self._report(f"cluster is ready after {time.monotonic() - start:.1f} s; kubeconfig: {plane.kubeconfig}")

    def down(self) -> None:
        """End the cluster and delete everything that it left on the machine.

        Raises:
            ClusterError: a mount could not be taken away.
        """
        if not self._settings_file.exists():
            self._report("no cluster is running")
            return
        machine.require_root()
        with self._alone():
            self._report("ending pods and processes")
            self._processes.stop("kubelet")
            containerd.kill_containers()
            for name in _PROCESSES:
                self._processes.stop(name)
            for process in self._processes.marked():
                stop(process, grace_seconds=1)
            self._report("cleaning up")
            owned = [self._state, RUN_FOLDER]
            machine.unmount_below(owned)
            machine.remove_bridge()
            machine.remove_rules()
            machine.remove_pod_cgroups()
            machine.remove_kubelet_leftovers(self._folders.pod_logs)
            shutil.rmtree(RUN_FOLDER, ignore_errors=True)
            self._delete_state()
        self._report("cluster is gone")

    def status(self) -> bool:
        """Report the state of every part; True if all is well."""
        settings = node_settings.load(self._settings_file)
        if settings is None:
            self._report("no cluster is running")
            return False
        parts = {name: self._processes.running(name) is not None for name in _PROCESSES}
        api = _plane(self._state, settings).api()
        parts["API server answers"] = api.answers("/readyz")
        parts["node is ready"] = parts["API server answers"] and _node_is_ready(api)
        parts["DNS answers"] = _dns_answers(settings)
        for part, well in parts.items():
            self._report(f"{'ok  ' if well else 'FAIL'} {part}")
        self._report(f"pods {settings.pod_cidr}, services {settings.service_cidr}, logs {self._state}/processes")
        return all(parts.values())

    def load(self, archive: Path) -> None:
        """Import an OCI or Docker image archive under the name that is written in it."""
        self._existing()
        containerd.ctr("images", "import", "--local", str(archive))

    def tag(self, name: str, alias: str) -> None:
        """Let an image have another name; what had that name before loses it."""
        self._existing()
        containerd.ctr("images", "tag", "--force", name, alias)

    def images(self) -> set[str]:
        """Return the names of the images that pods can use."""
        self._existing()
        return set(containerd.ctr("images", "list", "--quiet").split())

    def pretend_gpus(self, count: int) -> None:
        """Tell the scheduler that the node has GPUs."""
        quantity = {"nvidia.com/gpu": str(count)}
        status = {"status": {"capacity": quantity, "allocatable": quantity}}
        _plane(self._state, self._existing()).api().patch(f"{_NODE_PATH}/status", status)

    def _existing(self) -> Settings:
        settings = node_settings.load(self._settings_file)
        if settings is None:
            raise ClusterError("no cluster is running; start it with: python -m dev.cluster up")
        return settings

    @property
    def _settings_file(self) -> Path:
        return self._state / "settings.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(cache_dir() / "cluster.lock", self._report, "another command"):
            yield

    def _claim(self) -> Settings:
        """Make the machine's one node ours; keep what an earlier start has chosen."""
        owner = RUN_FOLDER / "owner"
        other = Path(owner.read_text()) if owner.exists() else self._state
        if other != self._state and (other / "settings.json").exists():
            raise ClusterError(
                f"this machine already runs a cluster, in {other}; "
                f"end it with: MODELYARD_STATE={other} python -m dev.cluster down"
            )
        settings = node_settings.load(self._settings_file)
        if settings is None:
            if self._state.exists() and any(self._state.iterdir()):
                raise ClusterError(f"{self._state} is not empty and no cluster's: choose another MODELYARD_STATE")
            routes = node_settings.parse_routes(Path("/proc/net/route").read_text())
            settings = node_settings.choose(routes)
            write_if_changed(self._settings_file, node_settings.dump(settings))
        write_if_changed(owner, str(self._state))
        return settings

    def _check_ports(self, settings: Settings) -> None:
        for name, ports in config.PORTS.items():
            if self._processes.running(name) is None:
                machine.check_ports(settings.address, ports)

    def _start_controllers(self, plane: ControlPlane, settings: Settings, binaries: dict[str, Path]) -> None:
        access = self._kubeconfig(plane, "controller-manager", "system:kube-controller-manager")
        flags = config.controller_manager_flags(settings, self._folders, access, self._pki)
        self._processes.ensure(
            "kube-controller-manager", [str(binaries["kube-controller-manager"]), *flags], configuration=[access]
        )
        access = self._kubeconfig(plane, "scheduler", "system:kube-scheduler")
        command = [str(binaries["kube-scheduler"]), *config.scheduler_flags(access)]
        self._processes.ensure("kube-scheduler", command, configuration=[access])

    def _start_kubelet(self, plane: ControlPlane, settings: Settings, binaries: dict[str, Path]) -> None:
        network = self._folders.config / "cni" / "modelyard.conflist"
        write_if_changed(network, config.cni(settings, self._folders))
        access = self._kubeconfig(plane, "kubelet", f"system:node:{NODE_NAME}", "system:nodes")
        plane.authority().server("kubelet-server", [NODE_NAME, settings.address])
        file = self._folders.config / "kubelet.json"
        write_if_changed(file, config.kubelet(settings, self._folders, self._pki))
        flags = config.kubelet_flags(settings, self._folders, access)
        self._processes.ensure("kubelet", [str(binaries["kubelet"]), *flags], configuration=[file, access])

    def _start_network(self, plane: ControlPlane, settings: Settings, binaries: dict[str, Path]) -> None:
        access = self._kubeconfig(plane, "kube-proxy", "system:kube-proxy")
        file = self._folders.config / "kube-proxy.json"
        write_if_changed(file, config.kube_proxy(settings, access))
        command = [str(binaries["kube-proxy"]), f"--config={file}"]
        self._processes.ensure("kube-proxy", command, configuration=[file, access])

        kubectl = [str(binaries["kubectl"]), f"--kubeconfig={plane.kubeconfig}"]
        done = subprocess.run(
            [*kubectl, "apply", "--server-side", f"--filename={_COREDNS_ACCESS}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"cannot give CoreDNS its rights: {done.stderr.strip()}")
        access = self._kubeconfig(plane, "coredns", "system:coredns")
        file = self._folders.config / "Corefile"
        write_if_changed(file, config.corefile(settings, access, Path("/etc/resolv.conf").read_text()))
        command = [str(binaries["coredns"]), "-conf", str(file)]
        self._processes.ensure("coredns", command, configuration=[file, access])

    def _wait_until_ready(self, api: Api, settings: Settings) -> None:
        def ready() -> bool:
            for name in _PROCESSES:
                self._processes.require(name)
            return (
                _node_is_ready(api)
                and api.get("/api/v1/namespaces/default/serviceaccounts/default") is not None
                and _dns_answers(settings)
            )

        wait_until(ready, f"the node; see the logs in {self._state}/processes", seconds=_READY_SECONDS)

    def _kubeconfig(self, plane: ControlPlane, name: str, user: str, group: str | None = None) -> Path:
        authority = plane.authority()
        api = Api(plane.server, authority.root.certificate, authority.client(name, user, group))
        path = self._folders.config / f"{name}.kubeconfig"
        write_if_changed(path, kubeconfig.render(api))
        return path

    def _delete_state(self) -> None:
        # The settings go last: until then the folder is ours, and `down` can be repeated.
        for path in self._state.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._settings_file:
                path.unlink()
        self._settings_file.unlink()
        self._state.rmdir()


def node(report: Report) -> Node:
    """Return the node of this user's state folder."""
    return Node(state_dir(), report)


def _plane(state: Path, settings: Settings) -> ControlPlane:
    return ControlPlane(state, settings.address, _API_PORT, settings.service_cidr, nodes=True)


def _node_is_ready(api: Api) -> bool:
    found = api.get(_NODE_PATH)
    conditions = found["status"].get("conditions", []) if found else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _dns_answers(settings: Settings) -> bool:
    return resolves(settings.address, f"kubernetes.default.svc.{node_settings.CLUSTER_DOMAIN}")
