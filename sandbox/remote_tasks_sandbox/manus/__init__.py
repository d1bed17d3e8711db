"""The emulated Manus account: both versions of its API."""
