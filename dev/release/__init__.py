"""Whether a commit can be released, and what is published of it."""
