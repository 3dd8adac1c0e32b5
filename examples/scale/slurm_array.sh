#!/bin/bash
# Bottlenecks by 100 jobs of an array, and a job that trains once all have ended well:
#   sbatch examples/scale/slurm_array.sh
#SBATCH --job-name=tlcli-shards
#SBATCH --array=0-99
#SBATCH --cpus-per-task=2
#SBATCH --mem=3G
#SBATCH --time=04:00:00
set -eu

photos=${PHOTOS:-/shared/photos}
bottlenecks=${BOTTLENECKS:-/shared/bottlenecks}
jobs=${SLURM_ARRAY_TASK_COUNT:-1}

if [ "${SLURM_ARRAY_TASK_ID:-0}" = 0 ] && command -v sbatch > /dev/null; then
    sbatch --dependency="afterok:$SLURM_ARRAY_JOB_ID" --mem=32G --wrap \
        "tlcli retrain --image_dir '$photos' --bottleneck_dir '$bottlenecks' --num_shards $jobs"
fi
tlcli retrain --image_dir "$photos" --bottleneck_dir "$bottlenecks" \
    --num_shards "$jobs" --shard_index "${SLURM_ARRAY_TASK_ID:-0}"
