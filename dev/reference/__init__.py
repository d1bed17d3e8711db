"""`make reference`: write ``docs/reference`` from signatures and docstrings; no table is kept by hand.

``docstrings`` reads one docstring, ``classes`` describes one class, ``pages`` puts the pages together. `make
check` fails when a page differs from what the code says now.
"""
