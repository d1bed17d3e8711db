"""Every call of every vendor over both transports, against the served sandbox."""
