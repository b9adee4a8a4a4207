#!/usr/bin/env bash
# An evaluation on a Slurm allocation: `sbatch docs/cluster/slurm.sh my.toml runs/my`. docs/cluster.md says what goes on here.
#SBATCH --job-name=speechadv
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --signal=B:INT@120
#SBATCH --requeue
set -euo pipefail

config=${1:?usage: sbatch slurm.sh CONFIG OUT}
out=${2:?usage: sbatch slurm.sh CONFIG OUT}
venv=${VENV:-$HOME/speechadv-venv}
port=${RAY_PORT:-6379}

# The first node of the allocation is the head, and writes.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0

# symmetric-run starts Ray on every node, runs the command on the head alone once all nodes are there, and stops Ray everywhere.
# The trap hands Slurm's early warning on: what is finished is kept, and the requeued job goes on.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
  "$venv/bin/ray" symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "${SLURM_CPUS_PER_TASK:-1}" -- \
  "$venv/bin/speechadv" evaluate "$config" --out "$out" --engine ray --address auto &
trap 'kill -INT $!' INT
wait $!
