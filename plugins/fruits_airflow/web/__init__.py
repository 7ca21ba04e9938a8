"""Pages in Airflow's UI, and the write lock for Airflow on SQLite."""
