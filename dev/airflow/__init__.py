"""A real Airflow on this machine: its processes, its REST API, and connections to the sandbox.

The commands of this package use it, and so do tests that need a real scheduler and a real triggerer.
"""
