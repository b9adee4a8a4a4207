"""The files in docs/cluster as far as they can be checked without Slurm and Kubernetes."""
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from speechadv.cli import group

FOLDER = Path(__file__).parents[1] / "docs" / "cluster"
PAGE = FOLDER.with_suffix(".md").read_text("utf-8")
# Fields of KubeRay's API ray.io/v1 (ray-operator/apis/ray/v1/*_types.go, from which its published schema is generated) and of Kubernetes' pods, with their types.
TEXT, NUMBER, TRUTH = str, int, bool
RESOURCES = {"requests": {"*": TEXT}, "limits": {"*": TEXT}}
CONTAINER = {"name": TEXT, "image": TEXT, "env": [{"name": TEXT, "value": TEXT}], "resources": RESOURCES, "volumeMounts": [{"name": TEXT, "mountPath": TEXT}]}
POD = {"spec": {"containers": [CONTAINER], "volumes": [{"name": TEXT, "persistentVolumeClaim": {"claimName": TEXT}}]}}
GROUP = {"rayStartParams": {"*": TEXT}, "template": POD}
SCHEMA = {
    "apiVersion": TEXT, "kind": TEXT, "metadata": {"name": TEXT},
    "spec": {"entrypoint": TEXT, "shutdownAfterJobFinishes": TRUTH, "ttlSecondsAfterFinished": NUMBER, "backoffLimit": NUMBER,
             "rayClusterSpec": {"rayVersion": TEXT, "headGroupSpec": GROUP,
                                "workerGroupSpecs": [GROUP | {"groupName": TEXT, "replicas": NUMBER, "minReplicas": NUMBER, "maxReplicas": NUMBER}]}}}


def fits(value, schema, where=""):
    """Each field is known and of its type."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        for key, inner in value.items():
            assert key in schema or "*" in schema, f"{where}.{key}"
            fits(inner, schema.get(key, schema.get("*")), f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for inner in value:
            fits(inner, schema[0], f"{where}[]")
    else:
        assert type(value) is schema, f"{where}: {value!r}"


def test_manifest_has_the_fields_of_the_schema():
    manifest = yaml.safe_load((FOLDER / "rayjob.yaml").read_text("utf-8"))
    fits(manifest, SCHEMA)
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    cluster = manifest["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert len({container["image"] for each in groups for container in each["template"]["spec"]["containers"]}) == 1
    assert all(each["minReplicas"] <= each["replicas"] <= each["maxReplicas"] for each in groups[1:])
    parses(shlex.split(manifest["spec"]["entrypoint"]))


def test_script_is_bash_and_its_command_parses():
    script = FOLDER / "slurm.sh"
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True).stderr == ""
    text = script.read_text("utf-8")
    assert text.startswith("#!/usr/bin/env bash\n") and all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", line) for line in text.splitlines() if line.startswith("#SBATCH"))
    command = re.search(r'speechadv" (evaluate .*) &', text)[1]
    parses(["speechadv", *shlex.split(command)])


def test_script_runs_what_it_should(tmp_path):
    """With stand-ins for Slurm's programs, which write down how they are called."""
    for name, body in (("scontrol", 'printf "n7\\nn8\\n"'), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["bash", str(FOLDER / "slurm.sh"), "my config.toml", "runs/my"], capture_output=True, text=True, timeout=60, env={
        "PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/home/me", "SLURM_JOB_NODELIST": "n[7-8]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "32"})
    words = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert words[words.index("--address") + 1] == "n7:6379" and words[words.index("--min-nodes") + 1] == "2"
    assert words[words.index("--") + 2 :] == ["evaluate", "my config.toml", "--out", "runs/my", "--engine", "ray", "--address", "auto"]


OWN_SPACE = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]  # `ray stop` ends every Ray process that it sees
LOOPBACK = r"""
set -e
ip link set lo up; mkdir -p /tmp/ray; mount -t tmpfs none /tmp/ray
ray start --head --port 6379 --num-cpus 0 --disable-usage-stats --node-ip-address 127.0.0.1
ray start --address 127.0.0.1:6379 --disable-usage-stats
speechadv evaluate my.toml --out runs/my --engine ray --address auto
ray stop
SLURM_JOB_NODELIST=n7 SLURM_JOB_NUM_NODES=1 SLURM_CPUS_PER_TASK=2 bash "$1" my.toml runs/slurm
cmp runs/my/rows.jsonl runs/slurm/rows.jsonl
"""


@pytest.mark.cluster
def test_commands_and_script_on_loopback(tmp_path):
    """The commands of the page, and the script with the real `ray symmetric-run`; Slurm's programs are stand-ins. The same rows from both."""
    pytest.importorskip("ray")
    tried = subprocess.run([*OWN_SPACE, "ip", "link", "set", "lo", "up"], capture_output=True) if shutil.which("unshare") and shutil.which("ip") else None
    if tried is None or tried.returncode:
        pytest.skip("no network space of its own can be had here")
    for name, body in (("scontrol", "echo 127.0.0.1"), ("srun", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "my.toml").write_text('attacks = [{name = "pgd", steps = 2}]\nbudgets = ["linf:0.002"]\ndata = ["bundled"]\nclips = 4\nbatch_size = 1\n'
                                      'threats = ["adaptive"]\n')
    programs = Path(sys.executable).parent
    around = {"PATH": f"{tmp_path}:{programs}:{os.environ['PATH']}", "VENV": str(programs.parent), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0",
              "RAY_agent_register_timeout_ms": "200000"}
    done = subprocess.run([*OWN_SPACE, "bash", "-c", LOOPBACK, "bash", str(FOLDER / "slurm.sh")], cwd=tmp_path, capture_output=True, text=True, timeout=280,
                          env=os.environ | around)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "runs" / "slurm" / "rows.jsonl").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^(speechadv .*?|ray .*?) *(?:#.*)?$", PAGE, re.M))))
def test_commands_of_the_page_parse(line):
    words = shlex.split(line.replace("*.wav", "a.wav b.wav"))
    if words[0] == "speechadv":
        return parses(words)
    ray = pytest.importorskip("ray.scripts.scripts")
    ray.cli.get_command(None, words[1]).make_context(words[1], words[2:])


def parses(words):
    """The options are ours; nothing is run."""
    assert words[0] == "speechadv"
    result = CliRunner().invoke(group, [words[1], "--help"])
    assert result.exit_code == 0
    import click

    with click.Context(group) as context:
        command = group.get_command(context, words[1])
        command.make_context(words[1], [word for word in words[2:]], resilient_parsing=False)
