"""A real Slurm cluster on this machine: munged, slurmctld and a few slurmd that stand for nodes, below one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
FREEZER = Path("/sys/fs/cgroup/freezer")
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}

CONF = """\
ClusterName=osumtest
SlurmctldHost={controller}
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A job that is requeued waits until its credential has expired; 5 s is the least that Slurm takes.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
# More cores and memory than this machine has.
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdTimeout=5
SlurmctldTimeout=10
MessageTimeout=5
KillWait=5
MinJobAge=3600
GresTypes=gpu
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return what has to be installed before a cluster can be started."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Poll a condition. TimeoutError naming what was waited for."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"after {timeout_s} s: {what}")
        time.sleep(0.1)


class Cluster:
    """Nodes that share this machine, its name and its network."""

    def __init__(self, folder: Path, port: int, num_nodes: int = 3) -> None:
        """`port` and as many behind it as there are nodes must be free. Munge asks that all may enter the folder."""
        self.folder, self.port = folder, port
        # The nodes' freezer groups are named after them: two clusters of this machine need different ones.
        self.nodes = [f"p{port}n{n}" for n in range(1, num_nodes + 1)]
        self.env = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Start all daemons and wait for the nodes. TimeoutError with the controller's log."""
        self._write_conf()
        self._start_munge()
        self._daemon("slurmctld")
        for node in self.nodes:
            self.start_node(node)
        try:
            wait_until(lambda: self._idle() == len(self.nodes), "the nodes did not become idle", 30)
        except TimeoutError as err:
            log = (self.folder / "log/slurmctld.log").read_text()[-3000:]
            raise TimeoutError(f"{err}\n{log}") from err

    def stop(self) -> None:
        """Cancel all jobs, stop all daemons and whatever runs on the nodes."""
        self.run("scancel", "--user", getpass.getuser())
        for node in self.nodes:
            self.kill_node(node)
        for name in ("slurmctld", "munged"):
            if process := self._process(name):
                process.terminate()
                psutil.wait_procs([process], timeout=10)
        for node in self.nodes:
            for group in sorted((FREEZER / f"slurm_{node}").glob("**/"), reverse=True):
                group.rmdir()

    def run(self, *argv: str | Path, **kwargs) -> subprocess.CompletedProcess:
        """Run a command as from the cluster's login node."""
        kwargs = {"text": True, "capture_output": True, "timeout": 900, "env": self.env, **kwargs}
        return subprocess.run([str(word) for word in argv], **kwargs)

    def job(self, number: str) -> dict[str, str]:
        """Return what Slurm knows of a job: JobState, Restarts, ExitCode, Reason, ..."""
        shown = self.run("scontrol", "-o", "show", "job", number, check=True).stdout
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def wait(self, number: str, timeout_s: float = 60) -> dict[str, str]:
        """Wait until a job has ended; return what Slurm knows of it."""
        wait_until(lambda: self.job(number)["JobState"] in OVER, f"job {number} did not end", timeout_s)
        return self.job(number)

    def start_node(self, node: str) -> None:
        """Switch a node on."""
        self._daemon("slurmd", "-N", node)

    def kill_node(self, node: str) -> None:
        """Cut a node's power: none of its processes can do anything more."""
        for process in self._processes_of(node):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def revive(self, node: str) -> None:
        """Switch a node on again and wait until it takes jobs."""
        self.start_node(node)
        state = ("sinfo", "--noheader", "--nodes", node, "--format=%T")
        wait_until(lambda: self.run(*state).stdout.strip() == "idle", f"{node} does not come back")

    def _processes_of(self, node: str) -> set[psutil.Process]:
        roots = [self._process(f"slurmd.{node}")]
        log = str(self.folder / f"log/slurmd.{node}.log")
        for process in psutil.process_iter(["name"]):  # slurmstepd is no child of slurmd, but writes to its log
            try:
                if process.info["name"] == "slurmstepd" and log in {f.path for f in process.open_files()}:
                    roots.append(process)
            except psutil.NoSuchProcess:
                continue
        found = {p for root in roots if root for p in (root, *_descendants(root))}
        for listed in (FREEZER / f"slurm_{node}").glob("**/cgroup.procs"):
            found |= {psutil.Process(int(pid)) for pid in listed.read_text().split() if psutil.pid_exists(int(pid))}
        return found

    def _process(self, daemon: str) -> psutil.Process | None:
        pid_file = self.folder / f"run/{daemon}.pid"
        if not pid_file.is_file() or not (text := pid_file.read_text().strip()):
            return None
        return psutil.Process(int(text)) if psutil.pid_exists(int(text)) else None

    def _idle(self) -> int:
        return self.run("sinfo", "--noheader", "--Node", "--format=%T").stdout.split().count("idle")

    def _daemon(self, name: str, *options: str) -> None:
        self.run(name, *options, "-f", self.folder / "slurm.conf", check=True, capture_output=False)

    def _start_munge(self) -> None:
        key = self.folder / "munge/key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        places = {"socket": "munge/socket", "key-file": "munge/key", "log-file": "log/munged.log"}
        places |= {"pid-file": "run/munged.pid", "seed-file": "munge/seed"}
        options = [f"--{name}={self.folder / place}" for name, place in places.items()]
        self.run("munged", *options, check=True, capture_output=False)

    def _write_conf(self) -> None:
        for name in ("run", "log", "state", "spool", "munge", "dev"):
            (self.folder / name).mkdir(mode=0o755)
        for node in self.nodes:
            (self.folder / "spool" / node).mkdir()
        for gpu in range(2):  # devices must exist; nobody opens them
            (self.folder / f"dev/nvidia{gpu}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/dev/nvidia[0-1]\n")
        (self.folder / "cgroup.conf").write_text(
            f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={FREEZER.parent}\nCgroupAutomount=no\n"
        )
        # Freezer groups catch every process of a job; without them one that left its session outlives scancel.
        proctrack = "cgroup" if os.access(FREEZER / "cgroup.procs", os.W_OK) else "linuxproc"
        nodes, controller = self._network()
        conf = CONF.format(
            folder=self.folder,
            controller=controller,
            port=self.port,
            user=getpass.getuser(),
            proctrack=proctrack,
            nodes="\n".join(f"{node} CPUs=8 RealMemory=16000 Gres=gpu:2 State=UNKNOWN" for node in nodes),
        )
        (self.folder / "slurm.conf").write_text(conf)

    def _network(self) -> tuple[list[str], str]:
        """Return the beginning of each node's line, and the controller's host: all of them are this machine."""
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self.port + n}"
            for n, node in enumerate(self.nodes, start=1)
        ]
        return nodes, f"{host}(127.0.0.1)\nCommunicationParameters=NoCtldInAddrAny,NoInAddrAny"


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
