"""Airflow plugin of this project: operators, sensors, triggers, tasks and pages."""
