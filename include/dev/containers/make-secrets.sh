#!/usr/bin/env bash
# Create the secrets of docker-compose.yaml in .local/compose.env, readable by its owner only. Existing secrets are kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
umask 077

hexadecimal() { od -An -v -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

file=.local/compose.env
mkdir -p .local
touch "$file"

add() { # NAME COMMAND…
    grep -q "^$1=" "$file" || printf '%s=%s\n' "$1" "$("${@:2}")" >>"$file"
}
add POSTGRES_PASSWORD hexadecimal 24
add AIRFLOW_FERNET_KEY fernet
add AIRFLOW_JWT_SECRET hexadecimal 64
add AIRFLOW_API_SECRET_KEY hexadecimal 32
add AIRFLOW_ADMIN_PASSWORD hexadecimal 12
add LOCAL_AWS_ACCESS_KEY_ID hexadecimal 10
add LOCAL_AWS_SECRET_ACCESS_KEY hexadecimal 32

echo "Secrets are in $file. Airflow's login: user admin, password after AIRFLOW_ADMIN_PASSWORD=."
