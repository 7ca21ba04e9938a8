#!/usr/bin/env bash
# The local AWS in the foreground, until SIGTERM; options go to `python -m include.dev.local_aws.supervisor`, such as
# `--host 0.0.0.0` where only a network of containers can reach it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. include/dev/environment.sh
exec python -m include.dev.local_aws.supervisor --state .local/aws --s3-port 4566 --emr-port 4567 "$@"
