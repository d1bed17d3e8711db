"""What each component calls its host: its own name, so that a job tells which component it belongs to."""

import os


def component_name() -> str:
    """Return the name that ``deployment.py`` gives in a variable."""
    return os.environ["COMPONENT_NAME"]
