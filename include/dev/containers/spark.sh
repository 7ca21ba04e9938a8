#!/usr/bin/env bash
# Spark's standalone master or a worker, from PySpark's own distribution, in the foreground:
#
#   spark.sh master [OPTION]…               such as --host spark-master --port 7077 --webui-port 8080
#   spark.sh worker [OPTION]… spark://…     such as --cores 1 --memory 1g --webui-port 8081 --work-dir FOLDER
#
# Options are Spark's own. Executors inherit a worker's environment: `AWS_*` of the worker is what their S3 clients see.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. include/dev/environment.sh

case ${1:-} in
master) class=org.apache.spark.deploy.master.Master ;;
worker) class=org.apache.spark.deploy.worker.Worker ;;
*)
    echo "spark.sh: say master or worker, not '${1:-}'." >&2
    exit 2
    ;;
esac
shift

SPARK_HOME=$(python -c 'import importlib.util as u; print(u.find_spec("pyspark").submodule_search_locations[0])')
export SPARK_HOME
export SPARK_DAEMON_MEMORY=${SPARK_DAEMON_MEMORY:-256m} # of the master and the worker themselves, who only keep books
export LC_ALL=${LC_ALL:-C.UTF-8}                        # the JVM names files by the locale, and our keys have accents
# Spark 4 lets everybody submit over HTTP at port 6066 unless told not to; a second master here would stumble over it too.
export SPARK_DAEMON_JAVA_OPTS="-Dspark.master.rest.enabled=false ${SPARK_DAEMON_JAVA_OPTS:-}"
exec "$SPARK_HOME/bin/spark-class" "$class" "$@"
