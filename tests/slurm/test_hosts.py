"""Jobs across hosts that have networks and names of their own, where no address of this machine leads anywhere."""

from tests.slurm.cluster import wait_until


def test_the_ranks_meet_at_the_first_host(hosts, repo_root, tmp_path):
    tmp_path.chmod(0o755)
    place = "echo $RANK/$WORLD_SIZE $(hostname) $MASTER_ADDR $(getent hosts $MASTER_ADDR | cut -d' ' -f1)"
    words = ("--nodes", "2", "--tasks", "2", "x.log", "bash", "-c", place)
    hosts.run(repo_root / "utils/slurm.sh", *words, cwd=tmp_path, check=True)
    assert hosts.wait((tmp_path / "x.job").read_text().strip())["JobState"] == "COMPLETED"
    found = sorted(line for line in (tmp_path / "x.log").read_text().splitlines() if line[0] != "#")
    one, two = hosts.nodes[:2]
    assert found == [f"{n}/4 {host} {one} 10.77.0.10" for n, host in enumerate((one, one, two, two))]


def test_a_host_that_loses_its_power_comes_back(hosts):
    node = hosts.nodes[2]
    hosts.kill_node(node)
    state = ("sinfo", "--noheader", "--nodes", node, "--format=%T")
    wait_until(lambda: hosts.run(*state).stdout.strip() == "down*", f"{node} is not missed")
    hosts.revive(node)
