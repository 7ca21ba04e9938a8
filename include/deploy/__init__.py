"""`make deploy`: create the stack of `include/deploy/fruits.yaml` and upload the clusters' files to its bucket.

The command line is in `cli`. The other modules are functions over boto3 clients, which the caller creates. Airflow runs
the pipeline, and `include.deploy.upload_images` uploads the images.
"""
