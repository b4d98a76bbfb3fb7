"""Upstreams: one model at one server each."""
