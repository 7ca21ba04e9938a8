"""Local Airflow of `make up` and `make down`."""
