"""A deployment as users run it, and the histories that it has to survive; see `make test-production`."""
