#!/usr/bin/env bash
# Bootstrap action: gives PySpark's interpreter what the application needs, exact versions with their hashes.
#
#   bootstrap.sh s3://bucket/artifacts/wheelhouse-….txt
#
# The requirements stand inside this script: its name carries one hash for both. The argument lists which machine takes
# which wheel; the wheels lie below it. No package index is asked: a node needs to reach S3 and nothing else.
set -euo pipefail

wheelhouse=${1:?"say where the list of wheels is: s3://bucket/artifacts/wheelhouse-….txt"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/requirements.txt" <<'REQUIREMENTS'
@REQUIREMENTS@
REQUIREMENTS

# Amazon Linux 2023 has pip in a package of its own, python3.11-pip (AL2023 release notes, lists of packages), which a
# node need not have. ensurepip installs the pip that comes with Python, without a network (Python documentation).
if ! python3.11 -m pip --version >/dev/null 2>&1; then
    sudo python3.11 -m ensurepip
fi
pip=(python3.11 -m pip --isolated --quiet --disable-pip-version-check)
install=(install --no-index --require-hashes --requirement "$work/requirements.txt")

# Where everything is there already (a custom image, a second cluster on one machine), nothing is fetched.
if "${pip[@]}" "${install[@]}" --dry-run 2>/dev/null; then
    echo "the application's requirements are installed already"
    exit
fi

machine=$(uname -m)
mkdir "$work/wheels"
aws s3 cp --only-show-errors "$wheelhouse" "$work/wheelhouse"
while read -r kind wheel; do
    if [[ $kind == "$machine" ]]; then
        aws s3 cp --only-show-errors "${wheelhouse%/*}/$wheel" "$work/wheels/${wheel##*/}" </dev/null
    fi
done <"$work/wheelhouse"
shopt -s nullglob
wheels=("$work"/wheels/*)
if ((${#wheels[@]} == 0)); then
    echo "$wheelhouse lists no wheel for $machine: deploy again, with this kind of machine." >&2
    exit 1
fi
sudo "${pip[@]}" "${install[@]}" --find-links "$work/wheels"
echo "installed from $wheelhouse: ${#wheels[@]} wheels for $machine"
