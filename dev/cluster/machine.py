"""What the bare-machine node does to the machine: packages, bridge, packet rules, mounts, cgroups."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from dev.cluster.api import wait_until
from dev.cluster.errors import ClusterError
from dev.cluster.paths import Report, cache_dir, locked
from dev.cluster.settings import BRIDGE, Settings

# Command -> the Debian package that has it.
PACKAGES = {
    "runc": "runc",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "catatonit": "catatonit",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
}
_CGROUPS = Path("/sys/fs/cgroup")
# Paths that no option of the kubelet moves.
_LEGACY_LOGS = Path("/var/log/containers")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")


def require_root() -> None:
    """Fail unless this is root.

    Raises:
        ClusterError: it is somebody else.
    """
    if os.geteuid() != 0:
        raise ClusterError(
            "the bare-machine cluster runs containers, so it needs root: run this with sudo, "
            "or start Docker and install kind (https://kind.sigs.k8s.io) to need neither"
        )


def install_packages(report: Report, packages: Mapping[str, str] = PACKAGES) -> None:
    """Install the Debian packages of missing commands.

    Args:
        report: told what is being installed.
        packages: by the command that each provides.

    Raises:
        ClusterError: there is no apt-get, or it failed.
    """
    if not _missing(packages):
        return
    with locked(cache_dir() / "apt.lock", report, "another installation of packages"):
        _install(report, _missing(packages))


def _missing(packages: Mapping[str, str]) -> list[str]:
    return sorted({package for command, package in packages.items() if not shutil.which(command)})


def _install(report: Report, missing: Sequence[str]) -> None:
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"install these with this system's package manager: {' '.join(missing)}")
    report(f"installing Debian packages: {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", "-qq", *command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ClusterError(f"apt-get {command[0]} failed: {done.stderr[-2000:]}")


def ensure_bridge(settings: Settings) -> None:
    """Create the bridge that pods are plugged into, and let its packets pass."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
    prefix = settings.pod_cidr.rsplit("/", 1)[1]
    _run("ip", "address", "replace", f"{settings.address}/{prefix}", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # Docker sets the policy of FORWARD to DROP.
    for direction in ("-i", "-o"):
        rule = ["FORWARD", direction, BRIDGE, "-j", "ACCEPT"]
        if subprocess.run(["iptables", "-w", "-C", *rule], capture_output=True, check=False).returncode != 0:
            _run("iptables", "-w", "-I", *rule)


def remove_bridge() -> None:
    """Delete the bridge."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        _run("ip", "link", "delete", BRIDGE)


def rules_removal(saved: str) -> str:
    """Return iptables-restore input that takes out of iptables-save output what a node has put there.

    Args:
        saved: what iptables-save prints.
    """
    removal: list[str] = []
    for table in re.findall(r"^\*.*?^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        lines = table.splitlines()
        chains = [line[1:].split()[0] for line in lines if re.match(r":(KUBE|CNI)-", line)]
        jumps = [
            f"-D {line[3:]}"
            for line in lines
            if re.match(r"-A (?!KUBE-|CNI-)", line) and re.search(rf"-j (KUBE|CNI)-|-[io] {BRIDGE} ", line)
        ]
        if chains or jumps:
            flush = [f"-F {chain}" for chain in chains]
            delete = [f"-X {chain}" for chain in chains]
            removal += [lines[0], *jumps, *flush, *delete, "COMMIT"]
    return "".join(f"{line}\n" for line in removal)


def remove_rules() -> None:
    """Delete the packet rules of kube-proxy, the kubelet, the CNI plugins and the bridge."""
    for family in ("iptables", "ip6tables"):
        if shutil.which(family):
            removal = rules_removal(_run(f"{family}-save"))
            if removal:
                _run(f"{family}-restore", "-w", "--noflush", document=removal)


def check_ports(address: str, ports: Iterable[int], *, seconds: float = 5) -> None:
    """Fail if another program listens on a port that the node needs.

    Args:
        address: of the node.
        ports: that it needs.
        seconds: how long a program that is just ending may take to free its port.

    Raises:
        ClusterError: names the port and who has it.
    """
    for port in ports:
        try:
            wait_until(partial(_is_free, address, port), "the port", seconds=seconds)
        except ClusterError as error:
            raise ClusterError(
                f"port {port} of {address} is in use: {_listener(port)}. "
                "End that program, or let it listen on its own address only, and try again."
            ) from error


def mounts_below(mountinfo: str, folders: Sequence[Path]) -> list[str]:
    """Return the mount points beneath folders, innermost first.

    Args:
        mountinfo: the text of /proc/self/mountinfo.
        folders: what they must lie in.
    """
    points = [
        re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in mountinfo.splitlines()
    ]
    below = [p for p in points if any(Path(p).is_relative_to(folder) for folder in folders)]
    return below[::-1]


def unmount_below(folders: Sequence[Path]) -> None:
    """Unmount everything beneath folders.

    Raises:
        ClusterError: something is still mounted, so that deleting would reach into it.
    """
    for point in _mounts(folders):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    left = _mounts(folders)
    if left:
        raise ClusterError(f"cannot unmount {', '.join(left)}")


def pids_in_cgroups(names: Iterable[str]) -> list[int]:
    """Return the processes of which a cgroup's path has one of the names in it."""
    wanted = set(names)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                cgroups = (entry / "cgroup").read_text()
            except OSError:
                continue
            if wanted.intersection(re.split(r"[/\n]", cgroups)):
                found.append(int(entry.name))
    return found


def remove_pod_cgroups() -> None:
    """Delete the kubelet's cgroups; the kernel refuses to delete one that has processes."""
    for parent in (_CGROUPS, *_CGROUPS.iterdir()):
        top = parent / "kubepods"
        if top.is_dir():
            for folder, _, _ in os.walk(top, topdown=False):
                _rmdir(folder)


def remove_kubelet_leftovers(pod_logs: Path) -> None:
    """Delete what the kubelet makes outside of its own folder: links to pods' logs, a socket."""
    links = _LEGACY_LOGS.iterdir() if _LEGACY_LOGS.is_dir() else ()
    for link in links:
        if link.is_symlink() and link.readlink().is_relative_to(pod_logs):
            link.unlink()
    (_DEVICE_PLUGINS / "kubelet.sock").unlink(missing_ok=True)
    for folder in (_LEGACY_LOGS, _DEVICE_PLUGINS, _DEVICE_PLUGINS.parent):
        _rmdir(folder)


def _rmdir(folder: str | Path) -> None:
    try:
        Path(folder).rmdir()
    except OSError:
        return


def _mounts(folders: Sequence[Path]) -> list[str]:
    return mounts_below(Path("/proc/self/mountinfo").read_text(), folders)


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
    return True


def _listener(port: int) -> str:
    users = re.search(r"users:.*", _run("ss", "-Hltnp", f"sport = :{port}"))
    return users[0].strip() if users else "no program is visible; it may run in a container"


def _run(*command: str, document: str | None = None) -> str:
    done = subprocess.run(command, input=document, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
