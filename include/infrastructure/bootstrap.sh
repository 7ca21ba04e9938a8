#!/usr/bin/env bash
# Bootstrap action: gives PySpark's interpreter what the application needs, exact versions with their hashes.
# The requirements stand inside this script: its name carries one hash for both, and a node needs no download of ours.
set -euo pipefail

requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
cat >"$requirements" <<'REQUIREMENTS'
@REQUIREMENTS@
REQUIREMENTS

# Where everything is there already (a custom image, a laptop), nothing is installed and no index is asked.
if python3.11 -m pip install --quiet --dry-run --no-index --require-hashes -r "$requirements" 2>/dev/null; then
    echo "the application's requirements are installed already"
else
    sudo python3.11 -m pip install --quiet --require-hashes -r "$requirements"
fi
