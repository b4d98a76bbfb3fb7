"""Drafts: what a small model's answer shows of its own worth, read from chat answers and chunks."""
