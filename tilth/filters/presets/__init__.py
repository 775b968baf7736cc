"""The rule sets, one short file each. A new one is written like its neighbours and put on this list."""

from tilth.filters.presets.gopher_datatrove import GOPHER_QUALITY
from tilth.filters.rules import Preset

PRESETS: tuple[Preset, ...] = (GOPHER_QUALITY,)
