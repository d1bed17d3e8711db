"""Tests of the rules that know neither Airflow nor a vendor: no socket but in the transports, no sleeping."""
