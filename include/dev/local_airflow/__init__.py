"""The local Airflow of `make up` and `make down`."""
