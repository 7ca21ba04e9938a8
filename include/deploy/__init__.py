"""`make deploy`: the stack of `include/deploy/fruits.yaml`, and what clusters install and run, in its bucket.

Plain functions over boto3 clients, which the caller makes; the command line is `cli`. Running the pipeline is
Airflow's business, images are `include.deploy.upload_images`'.
"""
