"""Many triggerers, many waits and a vendor with a limit, in virtual time: what would a day of this look like?

The provider's own code runs: the shared poller, the poll strategies, the client with its rate limiter and its
retries, the parsers. Only three things are simulated: time, the sockets and the vendor.
"""
