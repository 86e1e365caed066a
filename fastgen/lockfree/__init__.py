"""Rings, queues and what else threads share without locks."""
