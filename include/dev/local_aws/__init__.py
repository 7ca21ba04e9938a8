"""The AWS of one machine: S3, EMR, IAM, STS and CloudFormation on loopback, started and stopped with one command.

    python -m include.dev.local_aws start      # and stop, and status
    . .local/aws/environment.sh            # boto3, Airflow's hooks, the AWS CLI now find it

S3 is `rclone serve s3` over a folder (`s3_server`). The rest is moto's server, whose EMR gets the life it lacks:
`emr_api` changes what the API answers, `emr_lifecycle` takes clusters through their states, `step_process` runs
bootstrap actions and steps, `spark_conf` gives Spark its `s3://`. `supervisor` holds all of it in one process, and
`guardian` ends what that process leaves behind if it is killed. `local` and `cli` start and stop the supervisor.

Nothing in `dags/`, `plugins/` and `spark_apps/` knows this package. What is as on AWS and what is not:
`docs/reference/local-aws.md`.
"""
