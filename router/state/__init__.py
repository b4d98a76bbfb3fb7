"""What requests share while they run: counters, and nothing that could not be worked out again from the ledger."""
