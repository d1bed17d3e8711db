"""The tests. A package, so that they can import their own helpers by name."""
