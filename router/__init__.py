"""Weighbridge: weighs every request, and sends it to the model that it needs."""
# Imports nothing: this file runs before every shelf, and `import weighbridge.policies` must not load a web framework.


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # only when asked

        return version("weighbridge")
    raise AttributeError(f"module 'weighbridge' has no attribute {name!r}")
