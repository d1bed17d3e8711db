"""What the vendors publish about their APIs, and checks against it."""
