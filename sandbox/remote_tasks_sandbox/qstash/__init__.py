"""The emulated QStash account: messages (API v2) and tasks (API v1)."""
