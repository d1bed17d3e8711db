"""Manus (https://manus.im): an AI agent. A task runs for minutes or hours and costs credits."""
