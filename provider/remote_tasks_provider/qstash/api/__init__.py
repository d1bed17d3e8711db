"""The QStash API: one module a version, and request options."""
