"""What must hold on every supported Airflow; `make test-compat` runs it once per version.

Kept small: the behaviour itself is tested on the newest version. Here stand the seams where versions differ:
how the provider is found, how its connection form is read, how connections are looked up, how tasks defer and
resume.
"""
