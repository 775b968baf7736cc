"""How kernels are compiled: cached on disk, without the interpreter's lock, without reference counts.

Numba counts references to every array at every call between kernels, with an atomic operation each. In the word kernel,
whose calls are short, that took more than half of the time: 41 MB/s with it, 98 without. A kernel only borrows its
arrays from the Python frame that calls it and makes none itself, so nothing needs counting.

Numba's cache on disk looks at the file of the kernel only. A kernel that calls one of another file would go on with the
old one when that file changes, so kernels call their neighbours in the same file, and across files only those of
``utf8`` and ``blocks``, whose meaning is fixed.
"""

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from numba import njit

OPTIONS: Final[dict[str, Any]] = {"cache": True, "nogil": True, "_nrt": False}

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def kernel(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Compile a function over arrays that it is given; it may not make arrays of its own."""
    compiled: Callable[_Arguments, _Result] = njit(**OPTIONS)(function)
    return compiled


def inlined(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Compile a kernel that kernels of the same file take into themselves wherever they call it.

    A call hands over seven words for each array, on the stack. LLVM spares that for the smallest functions by itself;
    for one that is asked for every word it took 20 ns, more than its work.
    """
    compiled: Callable[_Arguments, _Result] = njit(forceinline=True, **OPTIONS)(function)
    return compiled
