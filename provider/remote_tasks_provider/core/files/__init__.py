"""Files by signed links, and safe names for them. Knows neither Airflow nor a service."""
