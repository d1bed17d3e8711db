"""Tests of what is particular to Manus."""
