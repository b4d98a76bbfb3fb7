"""Policies: which upstream a request goes to. Pure: no clock, no network, no globals."""
