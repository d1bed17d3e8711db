"""Acme, an invented render farm: the third service of the page on adding one. A job runs for some minutes."""
