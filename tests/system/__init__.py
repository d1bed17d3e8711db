"""Commands and helpers that need a whole Airflow: the demo, the playground, the version matrix.

Nothing here is a unit test. `standalone.py` is also what a test uses that must watch a real scheduler and a
real triggerer, for example one that kills the triggerer in the middle of a wait.
"""
