#!/usr/bin/env bash
# Run the local AWS in the foreground until SIGTERM. Options are those of `python -m include.dev.local_aws.supervisor`.
# Use `--host 0.0.0.0` only inside a network of containers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. include/dev/environment.sh
exec python -m include.dev.local_aws.supervisor --state .local/aws --s3-port 4566 --emr-port 4567 "$@"
