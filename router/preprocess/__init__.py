"""What is done to a request before a remote upstream sees it, and undone in the answer."""
