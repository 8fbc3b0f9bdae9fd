"""The cluster of the tests itself."""


def test_a_job_runs_on_two_nodes(cluster):
    done = cluster.run("srun", "--nodes=2", "bash", "-c", "echo $SLURM_PROCID $SLURMD_NODENAME")
    assert sorted(done.stdout.splitlines()) == [f"{n} {node}" for n, node in enumerate(cluster.nodes[:2])], done.stderr
