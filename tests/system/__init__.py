"""Tests on a real Airflow: its scheduler, workers, triggerer and API server against the sandbox."""
