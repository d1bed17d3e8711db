"""A2A: agents of anybody that speak the Agent2Agent protocol, https://a2a-protocol.org."""
