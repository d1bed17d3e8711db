"""What only developers run; the Makefile calls it and no distribution ships it.

=================  ==================================================================================
module             what it is for
=================  ==================================================================================
``environments``   install the project and its pinned packages into an environment
``compat``         run the version-dependent tests on every supported Airflow
``pythons``        run the tests of the rules on the other supported Pythons
``release``        check that this commit can be released, and build what is published
``airflow``        start a real Airflow on this machine and talk to its REST API
``demo``           run a branching DAG in a real Airflow against the sandbox
``playground``     serve Airflow's UI, the sandbox, an A2A agent and the example DAGs
``browser``        take the documentation's pictures, and follow its first pages as a newcomer would
``kills``          kill, clear and time out tasks, and compare what happens with the documented table
``bench``          measure waits, listing and imports next to Airflow's http provider
``reference``      write ``docs/reference`` from the docstrings
``diagrams``       draw the diagrams of the documentation
``docs_site``      tell MkDocs the navigation, and what pages show of the files outside ``docs``
=================  ==================================================================================
"""
