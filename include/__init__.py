"""What the DAGs are made of besides Airflow: settings, the cluster's specification, validation, local AWS."""
