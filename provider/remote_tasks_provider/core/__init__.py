"""The provider's rules, free of Airflow and of any vendor.

Every decision here is a pure function or a small object without I/O; only :mod:`.transport` and
:mod:`.transfer` open sockets.
That is what keeps the hook (requests) and the trigger (httpx) from drifting apart: they share all of it.
"""
