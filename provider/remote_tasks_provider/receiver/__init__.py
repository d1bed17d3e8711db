"""The receiver of webhooks: an ASGI app in Airflow's API server, or on its own.

It finds the services by their manifests. Airflow does not authenticate what a plugin serves: what a service
signs, or the secret that it sends, is the only guard.
"""
