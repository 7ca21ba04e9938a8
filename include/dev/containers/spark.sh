#!/usr/bin/env bash
# Run Spark's standalone master or a worker from PySpark's distribution in the foreground:
#
#   spark.sh master [OPTION]…               such as --host spark-master --port 7077 --webui-port 8080
#   spark.sh worker [OPTION]… spark://…     such as --cores 1 --memory 1g --webui-port 8081 --work-dir FOLDER
#
# Options are Spark's. Executors inherit the worker's environment, and so the `AWS_*` variables of their S3 clients.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. include/dev/environment.sh

case ${1:-} in
master) class=org.apache.spark.deploy.master.Master ;;
worker) class=org.apache.spark.deploy.worker.Worker ;;
*)
    echo "spark.sh: '${1:-}' is neither master nor worker." >&2
    exit 2
    ;;
esac
shift

SPARK_HOME=$(python -c 'import importlib.util as u; print(u.find_spec("pyspark").submodule_search_locations[0])')
export SPARK_HOME
export SPARK_DAEMON_MEMORY=${SPARK_DAEMON_MEMORY:-256m} # for the master and worker, which only coordinate
export LC_ALL=${LC_ALL:-C.UTF-8}                        # the JVM encodes file names by the locale; keys have accents
# By default Spark 4 accepts submissions over HTTP at port 6066, which also keeps a second master from starting.
export SPARK_DAEMON_JAVA_OPTS="-Dspark.master.rest.enabled=false ${SPARK_DAEMON_JAVA_OPTS:-}"
exec "$SPARK_HOME/bin/spark-class" "$class" "$@"
