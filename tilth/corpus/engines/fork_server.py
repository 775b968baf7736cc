"""What every worker would load for itself, loaded once, in the process that workers are forked from.

Each pool forks new workers, about twenty times in a run of eight stages. Numba's first call and the pandas that pyarrow
looks for when it converts an array cost each worker about a second of processor time; forked, they cost none.
"""

import numba
import numpy as np
import pyarrow as pa
import pyarrow.acero
import pyarrow.compute

from tilth.corpus.engines import local

__all__ = ["local"]


@numba.njit(cache=True)
def _first_call(value: int) -> int:
    return value + 1


_first_call(1)
pa.array(np.zeros(1))
