#!/bin/bash
# PostgreSQL with the user, password and database of POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB.
set -euo pipefail
data=/var/lib/postgresql/data

if [[ ! -s $data/PG_VERSION ]]; then
    initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") \
        --auth-local=trust --auth-host=scram-sha-256
    echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
    postgres --single -D "$data" postgres <<<"CREATE DATABASE \"$POSTGRES_DB\""
fi
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
