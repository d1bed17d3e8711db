"""What drives a browser: `make screenshots` and `make newcomer`.

They need Chromium on this machine, and the dependency group ``browser``, which the Makefile installs.
"""
