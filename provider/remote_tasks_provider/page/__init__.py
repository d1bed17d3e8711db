"""The Remote Tasks page in Airflow's UI: what Airflow waits for now, at every service.

An Airflow plugin (:mod:`.plugin`) serves one static page and one JSON endpoint (:mod:`.api`), which reads
Airflow's own database (:mod:`.query`) and calls no service. It may import ``core`` and ``bases``, and finds
services through their manifests, never a vendor by name. Nothing may import it.
"""
