"""The Manus API: one module a version, request options, and the choice of the version."""
