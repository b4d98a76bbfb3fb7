"""What holds for all tests: no example is too slow, because a machine that is busy makes any slow."""

from hypothesis import settings

settings.register_profile("patient", parent=settings.default, deadline=None)
settings.load_profile("patient")
