"""The ledger: an append-only record of every request and every attempt, in money, tokens and time."""
