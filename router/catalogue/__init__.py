"""Small models: what is known about each and who says so, what it needs, and which one suits a task."""
