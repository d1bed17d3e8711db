"""HTTP without Airflow: operations, retries, rate limits, pages. Only :mod:`.transport` opens sockets."""
