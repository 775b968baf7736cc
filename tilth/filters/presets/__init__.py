"""The rule sets, one short file each. A new one is written like its neighbours and put on this list."""

from tilth.filters.presets.c4 import C4_DATATROVE, C4_TFDS
from tilth.filters.presets.fineweb import FINEWEB
from tilth.filters.presets.gopher_datatrove import GOPHER_QUALITY
from tilth.filters.presets.gopher_dolma import GOPHER_DOLMA
from tilth.filters.presets.gopher_repetition_datatrove import GOPHER_REPETITION
from tilth.filters.presets.refinedweb import REFINEDWEB
from tilth.filters.presets.text import TEXT
from tilth.filters.rules import Preset

PRESETS: tuple[Preset, ...] = (
    GOPHER_QUALITY,
    GOPHER_REPETITION,
    GOPHER_DOLMA,
    C4_DATATROVE,
    C4_TFDS,
    FINEWEB,
    REFINEDWEB,
    TEXT,
)
