"""`make bench`: the cost of waits, listings and imports, next to that of Airflow's http provider.

Each figure is measured in a process of its own, so that no variant warms or slows another. The servers run in
the parent process, so their work isn't counted. Everything is on the loopback address.
"""
