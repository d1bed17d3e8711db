"""`make kills`: what happens to a remote task when something ends the Airflow task that waits for it.

``matrix`` is the table of expected outcomes, ``scenarios`` brings each row about, ``run`` runs all of them in
one Airflow and ``second`` the last one in another, and the command compares every supported version with the
table.
"""
