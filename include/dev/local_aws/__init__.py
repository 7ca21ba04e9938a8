"""Local AWS: S3, EMR, IAM, STS and CloudFormation on loopback, started and stopped with one command.

    python -m include.dev.local_aws start      # also: stop, status
    . .local/aws/environment.sh                # boto3, Airflow's hooks and the AWS CLI use it from now on

S3 is `rclone serve s3` over a folder (`s3.server`). All other services are moto's server. moto's EMR is extended:

* `emr.api` changes the API's answers.
* `emr.lifecycle` takes clusters through their states.
* `node.step_process` runs bootstrap actions and steps.
* `node.spark_conf` configures `s3://` for Spark.

`supervisor` runs all of it in one process. `reaper` ends the processes that remain if the supervisor is killed. `local`
and `cli` start and stop the supervisor.

Nothing in `dags/`, `plugins/` and `spark_apps/` imports this package. `docs/reference/local-aws.md` lists the
differences from AWS.
"""
