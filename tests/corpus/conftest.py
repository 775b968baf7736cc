"""Let tests and the worker processes that they start import the example stages beside them by one name.

Properties have no deadline: how long an example takes says more about the machine than about the law.
"""

import sys
from pathlib import Path

from hypothesis import settings

settings.register_profile("laws", deadline=None, database=None)
settings.load_profile("laws")
sys.path.insert(0, str(Path(__file__).parent))
