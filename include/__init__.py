"""Python code of the DAGs that does not depend on Airflow: settings, cluster requests, validation, publication."""
