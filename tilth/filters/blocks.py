"""Looks at eight or sixty-four bytes of an array at once, in one instruction of the machine where it has one.

A kernel that asks each byte of a text for its class in turn spends a nanosecond a byte, most of it on guesses that turn
out wrong where words end. Sixty-four comparisons at once make a mask, and a mask says without a guess where the next
word ends: all words are found in half the time. The comparisons are LLVM's own vectors, which every processor has; what
is compiled reads the bytes that it is told to and checks no bounds, so callers keep to the array.

Where numba compiles nothing (NUMBA_DISABLE_JIT), as when kernels are fuzzed, the same functions run as plain Python.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from tilth.filters.kernel import inlined

BLOCK: Final = 64  # bytes of a block: a bit each in a mask

_I8, _I64 = ir.IntType(8), ir.IntType(64)
_Generator = tuple[Any, Callable[..., Any]]


def plain_word_at(data: np.ndarray, at: int) -> np.uint64:
    """Return the eight bytes from ``at`` on as a little-endian number."""
    return np.uint64(sum(int(data[at + byte]) << 8 * byte for byte in range(8)))


def plain_set_word(data: np.ndarray, at: int, word: np.uint64) -> None:
    """Write a little-endian number to the eight bytes from ``at`` on."""
    for byte in range(8):
        data[at + byte] = int(word) >> 8 * byte & 0xFF


def plain_block_mask(data: np.ndarray, at: int, fold: int, low: int, high: int) -> np.uint64:
    """Return a bit for each of the 64 bytes from ``at`` on: whether ``low <= byte | fold <= high``."""
    return np.uint64(sum(1 << byte for byte in range(BLOCK) if low <= int(data[at + byte]) | fold <= high))


def plain_weighted_bytes(word: np.uint64, weights: np.ndarray) -> np.uint64:
    """Return the sum of the eight bytes of a word, each times a weight (uint64, from the lowest on), modulo 2**64."""
    return np.uint64(sum((int(word) >> 8 * byte & 0xFF) * int(weights[byte]) for byte in range(8)) % 2**64)


def plain_lowest(mask: np.uint64) -> int:
    """Return the place of the lowest bit that is set, 64 where none is."""
    return (int(mask) & -int(mask)).bit_length() - 1 if mask else BLOCK


def plain_bits_set(mask: np.uint64) -> int:
    """Return how many bits are set."""
    return int(mask).bit_count()


def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any, of: Any) -> Any:
    """Return the address of byte ``at`` of an array, for something of another type."""
    start = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(cgutils.gep_inbounds(builder, start, at), of.as_pointer())


@intrinsic
def _word_at(typing: Any, data: Any, at: Any) -> _Generator:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at = arguments
        return builder.load(_address(context, builder, signature.args[0], array, at, _I64), align=1)

    return types.uint64(data, types.intp), generate


@intrinsic
def _set_word(typing: Any, data: Any, at: Any, word: Any) -> _Generator:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, word = arguments
        builder.store(word, _address(context, builder, signature.args[0], array, at, _I64), align=1)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.uint64), generate


@intrinsic
def _block_mask(typing: Any, data: Any, at: Any, fold: Any, low: Any, high: Any) -> _Generator:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, *bounds = arguments
        block = ir.VectorType(_I8, BLOCK)
        read = builder.load(_address(context, builder, signature.args[0], array, at, block), align=1)
        fold, low, high = (_everywhere(builder, block, bound) for bound in bounds)
        # one comparison: what is below ``low`` wraps round to a large number
        found = builder.icmp_unsigned("<=", builder.sub(builder.or_(read, fold), low), builder.sub(high, low))
        return builder.bitcast(found, _I64)

    return types.uint64(data, types.intp, types.uint8, types.uint8, types.uint8), generate


def _everywhere(builder: Any, block: Any, value: Any) -> Any:
    """Return a block of one byte."""
    first = builder.insert_element(ir.Constant(block, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    return builder.shuffle_vector(first, ir.Constant(block, ir.Undefined), places)


@intrinsic
def _weighted_bytes(typing: Any, word: Any, weights: Any) -> _Generator:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, weights = arguments
        wide = ir.VectorType(_I64, 8)
        start = _address(context, builder, signature.args[1], weights, ir.Constant(_I64, 0), wide)
        bytes_of = builder.zext(builder.bitcast(word, ir.VectorType(_I8, 8)), wide)
        total = builder.mul(bytes_of, builder.load(start, align=8))
        for half in (4, 2, 1):  # fold the upper half onto the lower one
            places = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(half, 2 * half)))
            lower = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(half)))
            nothing = ir.Constant(total.type, ir.Undefined)
            upper = builder.shuffle_vector(total, nothing, places)
            total = builder.add(builder.shuffle_vector(total, nothing, lower), upper)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.uint64(types.uint64, weights), generate


@intrinsic
def _lowest(typing: Any, mask: Any) -> _Generator:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.intp(types.uint64), generate


@intrinsic
def _bits_set(typing: Any, mask: Any) -> _Generator:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.intp(types.uint64), generate


_Function = TypeVar("_Function")


def _chosen(plain: _Function, compiled: Any) -> _Function:
    """Return the form of a function that kernels call here."""
    chosen: _Function = plain if config.DISABLE_JIT else compiled  # type: ignore[attr-defined]
    return chosen


word_at, set_word = _chosen(plain_word_at, _word_at), _chosen(plain_set_word, _set_word)
block_mask = _chosen(plain_block_mask, _block_mask)
weighted_bytes = _chosen(plain_weighted_bytes, _weighted_bytes)
lowest, bits_set = _chosen(plain_lowest, _lowest), _chosen(plain_bits_set, _bits_set)


@inlined
def first_bytes(data: np.ndarray, at: int, size: int) -> np.uint64:
    """Return so many bytes from ``at`` on, at most eight, as a little-endian number, wherever the array ends."""
    if size <= 0:
        return np.uint64(0)
    if at + 8 <= len(data):
        unused = np.uint64(64 - 8 * min(size, 8))
        return np.uint64(word_at(data, at) << unused >> unused)
    number = np.uint64(0)
    for byte in range(min(size, 8)):
        number |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    return number
