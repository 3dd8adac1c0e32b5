#!/usr/bin/env bash
# Retrain, stop if the accuracy is too low, and label new images with the result.
#
#   retrain_and_gate.sh IMAGE_DIR NEW_IMAGES OUTPUT_DIR [MIN_ACCURACY]
#
# OUTPUT_DIR receives the graph, its labels, its model card, the report, result.json and
# labels.csv. The exit code is 0 on success, 3 if the accuracy is below MIN_ACCURACY (default 0.9;
# the graph and the report are written, but nothing is labelled), and 1 or 2 if something failed.
set -euo pipefail

if [ $# -lt 3 ] || [ $# -gt 4 ]; then
    echo "usage: $0 IMAGE_DIR NEW_IMAGES OUTPUT_DIR [MIN_ACCURACY]" >&2
    exit 2
fi
images=$1 new=$2 output=$3 minimum=${4:-0.9}
mkdir -p "$output"

# Computed vectors stay in the cache (TLCLI_CACHE_DIR); keep it between runs.
tlcli retrain --image_dir "$images" --output_graph "$output/output_graph.pb" \
    --min_accuracy "$minimum" --format json --quiet > "$output/result.json"

tlcli label --graph "$output/output_graph.pb" --image "$new" \
    --num_top_predictions 1 --format csv > "$output/labels.csv"
