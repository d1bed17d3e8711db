"""Airflow base classes over the core: what every vendor's hook, operator and sensor shares."""
