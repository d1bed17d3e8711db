"""Webhooks as a bell: what a service supplies so that its events can be believed, and the note they leave."""
