"""Compilation of the kernels, exponentials that vectorise, and the solver step."""

import math
from collections.abc import Callable
from functools import wraps
from pickle import UnpicklingError
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic, overload

# Sums may be reordered and contracted, so that loops vectorise; NaN and infinity stay valid.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
LOG2E = math.log2(math.e)
if config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("NUMBA_DISABLE_JIT is set")

_32 = np.float32
_LARGEST = np.float32(62.0)  # two such powers can be multiplied without overflow
_ROUND = np.float32(3 << 22)  # adding it rounds a float32 to an integer, which its last bits then hold
# 2^f for f in [-0.5, 0.5]: minimax polynomial of degree 5 with value 1 at 0; largest relative error 1.1e-7.
_C1, _C2, _C3, _C4, _C5 = (
    np.float32(c) for c in (6.93146978e-1, 2.40222421e-1, 5.55073374e-2, 9.67151264e-3, 1.32647271e-3)
)


def kernel(function: Callable) -> Any:
    """Compile a function for this machine; it releases the GIL, so that threads can share a batch."""
    options: dict[str, Any] = {"fastmath": FASTMATH, "nogil": True, "error_model": "numpy"}
    try:
        kept = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache
        return njit(**options)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        nonlocal kept
        try:
            return kept(*arguments)
        except (OSError, EOFError, UnpicklingError):  # a full disk, or a damaged cache
            kept = njit(**options)(function)
            return kept(*arguments)

    return call


def inlined(function: Callable) -> Any:
    """Compile a function inline, as a part of the kernels that call it."""
    return njit(forceinline=True, fastmath=FASTMATH, error_model="numpy")(function)


@intrinsic
def _from_bits(typing_context, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _to_bits(typing_context, number):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


def exp2(x: float) -> float:
    """Return 2^x, clamped to 2^-62..2^62 in float32 and 2^-500..2^500 in float64; NaN stays NaN."""
    raise NotImplementedError


@overload(exp2, jit_options={"fastmath": {"contract"}, "error_model": "numpy", "forceinline": True})
def _exp2(x):
    if x == types.float64:
        return lambda x: np.exp2(min(max(x, -500.0), 500.0))

    def single(x):
        x = _LARGEST if x > _LARGEST else x
        x = -_LARGEST if x < -_LARGEST else x
        whole = x + _ROUND
        f = x - (whole - _ROUND)
        power = _C5 * f + _C4
        power = power * f + _C3
        power = power * f + _C2
        power = power * f + _C1
        power = power * f + _32(1.0)
        return power * _from_bits(np.int32((_to_bits(whole) + np.int32(127)) << np.int32(23)))  # type: ignore[call-arg]

    return single


def one_minus_exp(x: float) -> float:
    """Return 1 - exp(-x) for x >= 0, accurate for small x too."""
    raise NotImplementedError


@overload(one_minus_exp, jit_options={"fastmath": FASTMATH, "error_model": "numpy", "forceinline": True})
def _one_minus_exp(x):
    if x == types.float64:
        return lambda x: -np.expm1(-x)

    def single(x):
        series = _32(1.0) - x * _32(1 / 6)
        series = _32(1.0) - x * series * _32(1 / 5)
        series = _32(1.0) - x * series * _32(1 / 4)
        series = _32(1.0) - x * series * _32(1 / 3)
        series = _32(1.0) - x * series * _32(1 / 2)
        return x * series if x < _32(0.25) else _32(1.0) - exp2(-_32(LOG2E) * x)

    return single


@inlined
def step(v, rate, drive, h, exponential):
    """Return v after a solver step over h seconds of dv/dt = drive - rate v: exponential Euler, or the fused Eq. 3."""
    one = type(v)(1)
    if exponential:
        return v + (drive / rate - v) * one_minus_exp(h * rate)
    return (v + h * drive) / (one + h * rate)


@inlined
def step_adjoint(v, rate, drive, h, exponential):
    """Return the derivatives of `step` with respect to v, rate, drive and h."""
    one = type(v)(1)
    if exponential:
        lost = one_minus_exp(h * rate)
        rest = drive / rate
        pull = (one - lost) * (rest - v)
        return one - lost, h * pull - lost * rest / rate, lost / rate, rate * pull
    inverse = one / (one + h * rate)
    new = (v + h * drive) * inverse
    return inverse, -h * new * inverse, h * inverse, (drive - rate * new) * inverse
