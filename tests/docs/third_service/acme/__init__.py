"""Acme, an invented render farm: the third service of docs/add-a-service.md. A job runs for some minutes."""
