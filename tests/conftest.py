"""Hypothesis for the whole suite: no deadline (kernels compile on first use), the same examples every time in CI."""

import os

from hypothesis import settings

settings.register_profile("tilth", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("tilth")
