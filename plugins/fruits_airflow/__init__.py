"""What this project adds to Airflow: operators, sensors and task functions."""
