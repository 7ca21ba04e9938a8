"""Development and demonstration: local AWS, local Airflow, sample images and containers. Not used on AWS."""
