#!/usr/bin/env bash
# Run one of Airflow's services, or prepare the database before the first of them starts.
#
#   airflow.sh init                    migrate the database, store the login (FRUITS_ADMIN_PASSWORD) and exit
#   airflow.sh scheduler --spark-driver-host HOST
#                                      write Spark settings for drivers in the scheduler's container, then run it
#   airflow.sh SERVICE [OPTION]…       run api-server, dag-processor, triggerer or scheduler with Airflow's options
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. include/dev/environment.sh

service=${1:?"name a service: init, api-server, scheduler, dag-processor or triggerer"}
shift

case $service in
init)
    mkdir -p "$AIRFLOW_HOME"
    (
        umask 077
        printf '{"admin": "%s"}\n' "${FRUITS_ADMIN_PASSWORD:?"run include/dev/containers/make-secrets.sh first"}" \
            >"$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated"
    )
    exec airflow db migrate
    ;;
scheduler)
    if [[ ${1:-} == --spark-driver-host ]]; then
        export SPARK_CONF_DIR=$PWD/.local/spark/conf
        python -m include.dev.spark_standalone --conf "$SPARK_CONF_DIR" --s3-folder .local/aws/s3 --driver-host "$2"
        shift 2
    fi
    exec airflow scheduler "$@"
    ;;
*)
    exec airflow "$service" "$@"
    ;;
esac
