# Environment of Airflow in this checkout. The Makefile, scripts and users source it:  . include/dev/environment.sh
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/../.." && pwd)
export AIRFLOW_HOME="$root/.local/airflow"
export AIRFLOW__CORE__DAGS_FOLDER="$root/dags"
export AIRFLOW__CORE__PLUGINS_FOLDER="$root/plugins"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__API__HOST=127.0.0.1 # the UI is for this machine only
export PYTHONPATH="$root:$root/spark_apps"
export PATH="$root/.venv/bin:$PATH"
. "$root/include/dev/no_proxy.sh"
unset PYTHONDONTWRITEBYTECODE # without .pyc files every process compiles Airflow and Spark again
unset root
