"""Tests of what is particular to QStash."""
