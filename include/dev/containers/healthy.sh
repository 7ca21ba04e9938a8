#!/usr/bin/env bash
# Check a service. The exit code is 0 if it is healthy:
#
#   healthy.sh URL              the URL answers with success
#   healthy.sh URL PART…        Airflow's health document at the URL reports each part as healthy, such as scheduler
#   healthy.sh local-aws        both servers of the local AWS answer
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. include/dev/environment.sh

if [[ ${1:?"give a URL or local-aws"} == local-aws ]]; then
    exec python -m include.dev.local_aws status --state .local/aws
fi
exec python -c '
import json, sys, urllib.request
url, *parts = sys.argv[1:]
try:
    body = urllib.request.urlopen(url, timeout=5).read()
except OSError as error:
    sys.exit(f"{url}: {error}")
health = json.loads(body) if parts else {}
unhealthy = [part for part in parts if health.get(part, {}).get("status") != "healthy"]
sys.exit(f"{url}: not healthy: {unhealthy}" if unhealthy else 0)
' "$@"
