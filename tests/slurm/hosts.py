"""A Slurm cluster whose nodes are hosts of their own: each has its network, name, processes and /etc/hosts.

Linux namespaces make them; a bridge in the login host's namespace joins them, and nothing of it is seen outside.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import psutil

from tests.slurm.cluster import FREEZER, PATH, Cluster, wait_until

LOGIN = "login"
SUBNET = "10.77.0"

BOOT = """\
mount --make-rprivate / && mount --bind {folder}/hosts /etc/hosts && hostname {host} && ip link set lo up || exit
touch {folder}/run/{host}.up
while :; do sleep 3600 & wait; done # as process 1 it buries the orphans
"""


def why_not() -> str | None:
    """Return why this machine can't make such hosts; None if it can."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name, path=PATH) is None]
    if missing:
        return f"no {', '.join(missing)}"
    # A veth pair in a namespace of its own: what containers and ordinary users are often refused.
    probe = ["unshare", "--net", "--uts", "--pid", "--mount", "--fork", "ip", "link", "add", "v0", "type", "veth"]
    done = subprocess.run(probe, capture_output=True, text=True, env={**os.environ, "PATH": PATH})
    return None if done.returncode == 0 else f"namespaces are refused: {done.stderr.strip()}"


class Hosts(Cluster):
    """Nodes with a network and a name of their own."""

    def __init__(self, folder: Path, port: int, num_nodes: int = 3) -> None:
        super().__init__(folder, port, num_nodes)
        self._inits: dict[str, psutil.Process] = {}

    def run(self, *argv: str | Path, **kwargs) -> subprocess.CompletedProcess:
        """Run a command on the login host."""
        folder = str(kwargs.pop("cwd", Path.cwd()))
        return super().run(*self._inside(LOGIN), "bash", "-c", 'cd "$0" && exec "$@"', folder, *argv, **kwargs)

    def start_node(self, node: str) -> None:
        """Switch a node on: its host, its cable, its daemon."""
        port_of_bridge = f"v{self.nodes.index(node)}"
        self._ip("link", "delete", port_of_bridge, check=False)
        self._boot(node)
        netns = str(self._inits[node].pid)
        self._ip("link", "add", port_of_bridge, "type", "veth", "peer", "name", "eth0", "netns", netns)
        self._ip("link", "set", port_of_bridge, "master", "bridge0", "up")
        self._ip("address", "add", f"{self._address(node)}/24", "dev", "eth0", host=node)
        self._ip("link", "set", "eth0", "up", host=node)
        command = [*self._inside(node), "slurmd", "-N", node, "-f", str(self.folder / "slurm.conf")]
        subprocess.run(command, env=self.env, check=True)

    def kill_node(self, node: str) -> None:
        """Cut a host's power: with its process 1 all others end, and its network."""
        self._inits.pop(node).kill()

    def stop(self) -> None:
        """Cut the power of all hosts, the login host last."""
        for host in [*(node for node in self.nodes if node in self._inits), *([LOGIN] if LOGIN in self._inits else [])]:
            self.kill_node(host)
        for node in self.nodes:
            for group in sorted((FREEZER / f"slurm_{node}").glob("**/"), reverse=True):
                wait_until(lambda g=group: not (g / "cgroup.procs").read_text(), f"{group} is not empty", 20)
                group.rmdir()

    def _start_munge(self) -> None:
        lines = ["127.0.0.1 localhost", f"{SUBNET}.1 {LOGIN}", *(f"{self._address(n)} {n}" for n in self.nodes)]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")
        self._boot(LOGIN)
        self._ip("link", "add", "bridge0", "type", "bridge")
        self._ip("address", "add", f"{SUBNET}.1/24", "dev", "bridge0")
        self._ip("link", "set", "bridge0", "up")
        super()._start_munge()

    def _network(self) -> tuple[list[str], str]:
        return [f"NodeName={node}" for node in self.nodes], LOGIN

    def _address(self, node: str) -> str:
        return f"{SUBNET}.{10 + self.nodes.index(node)}"

    def _boot(self, host: str) -> None:
        up = self.folder / f"run/{host}.up"
        up.unlink(missing_ok=True)
        script = BOOT.format(folder=shlex.quote(str(self.folder)), host=host)
        spaces = ["--net", "--uts", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child=KILL"]
        parent = subprocess.Popen(["unshare", *spaces, "bash", "-c", script], env=self.env, stdin=subprocess.DEVNULL)
        wait_until(up.exists, f"host {host} did not start", 20)
        (self._inits[host],) = psutil.Process(parent.pid).children()

    def _inside(self, host: str) -> list[str]:
        return ["nsenter", "--target", str(self._inits[host].pid), "--net", "--uts", "--pid", "--mount"]

    def _ip(self, *words: str, host: str = LOGIN, check: bool = True) -> None:
        # Only the network of the host: `netns` names a process as it is numbered here.
        command = ["nsenter", "--target", str(self._inits[host].pid), "--net", "ip", *words]
        subprocess.run(command, env=self.env, check=check, capture_output=not check)
