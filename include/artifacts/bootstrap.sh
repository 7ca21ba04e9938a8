#!/usr/bin/env bash
# Bootstrap action: installs the application's locked requirements for PySpark's interpreter and checks their hashes.
#
#   bootstrap.sh s3://bucket/artifacts/wheelhouse-….txt
#
# The script contains the requirements, so one hash names both. The argument is a file with one line per wheel: type of
# machine and the wheel's key, relative to that file. No package index is used: a node only needs access to S3.
set -euo pipefail

wheelhouse=${1:?"the argument is missing: the list of wheels, s3://bucket/artifacts/wheelhouse-….txt"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/requirements.txt" <<'REQUIREMENTS'
@REQUIREMENTS@
REQUIREMENTS

# Amazon Linux 2023 has pip in a separate package, python3.11-pip (AL2023 release notes, lists of packages), which a
# node may lack. ensurepip installs the pip that comes with Python, without a network (Python documentation).
if ! python3.11 -m pip --version >/dev/null 2>&1; then
    sudo python3.11 -m ensurepip
fi
pip=(python3.11 -m pip --isolated --quiet --disable-pip-version-check)
install=(install --no-index --require-hashes --requirement "$work/requirements.txt")

# Nothing is downloaded if everything is installed already: on a custom image, or on the local EMR.
if "${pip[@]}" "${install[@]}" --dry-run 2>/dev/null; then
    echo "the application's requirements are installed already"
    exit
fi

machine=$(uname -m)
mkdir "$work/wheels"
aws s3 cp --only-show-errors "$wheelhouse" "$work/wheelhouse"
# All wheels at once: each call of the AWS CLI takes most of its time to start.
downloads=()
while read -r kind wheel; do
    if [[ $kind == "$machine" ]]; then
        aws s3 cp --only-show-errors "${wheelhouse%/*}/$wheel" "$work/wheels/${wheel##*/}" </dev/null &
        downloads+=($!)
    fi
done <"$work/wheelhouse"
for download in "${downloads[@]}"; do
    wait "$download"
done
shopt -s nullglob
wheels=("$work"/wheels/*)
if ((${#wheels[@]} == 0)); then
    echo "$wheelhouse lists no wheel for $machine. Deploy again, for this type of machine." >&2
    exit 1
fi
sudo "${pip[@]}" "${install[@]}" --find-links "$work/wheels"
echo "installed from $wheelhouse: ${#wheels[@]} wheels for $machine"
