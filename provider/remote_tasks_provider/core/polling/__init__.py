"""Waiting for remote tasks: the rules are pure; :mod:`.drivers` and :mod:`.shared` do the I/O."""
