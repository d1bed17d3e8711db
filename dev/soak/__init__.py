"""``make soak``: thousands of waits in two triggerers on one account, with random faults, for minutes.

What each wait told is compared with what the sandbox knows of its task.
"""
