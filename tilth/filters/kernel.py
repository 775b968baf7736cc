"""How kernels are compiled: cached on disk, without the interpreter's lock, without reference counts.

Numba counts references to every array at every call between kernels, with an atomic operation each; in the word kernel,
whose calls are short, that took two thirds of the time (34 against 98 MB/s). A kernel only borrows its arrays from the
Python frame that calls it and makes none itself, so nothing needs counting.
"""

from numba import njit

kernel = njit(cache=True, nogil=True, _nrt=False)
