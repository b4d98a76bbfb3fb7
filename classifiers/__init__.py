"""Classifiers: text in, score out. No policies, no HTTP, no money."""
