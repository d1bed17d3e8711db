"""A2A agents on the servers of the official SDK, each version in its own environment; for tests and demos."""
