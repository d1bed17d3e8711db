"""Upstash QStash (https://upstash.com/docs/qstash): HTTP messages delivered with retries."""
