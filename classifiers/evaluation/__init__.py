"""Evaluation: what a score is worth on answers that were judged. Plain numpy; nothing is fitted here."""
