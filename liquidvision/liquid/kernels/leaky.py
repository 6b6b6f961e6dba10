"""A bank of leaky integrators over frames, with derivatives with respect to its time constants."""

import math

import numpy as np

from liquidvision.liquid.kernels.scalar import inlined, kernel


@inlined
def pool(layouts, values, weights, out):
    """Write the means of values * weights (width,) of each node to out (size,): per group, or per channel and per cell.

    A row of `layouts` holds a node's first index, channels, cells and groups.
    """
    at = 0
    one = values.dtype.type(1)
    for n in range(layouts.shape[0]):
        start, channels, cells, groups = layouts[n]
        if cells == 1:
            for g in range(groups):
                first, last = g * channels // groups, ((g + 1) * channels + groups - 1) // groups
                total = values.dtype.type(0)
                for c in range(start + first, start + last):
                    total += values[c] * weights[c]
                out[at + g] = total * (one / values.dtype.type(last - first))
            at += groups
        else:
            by_cell = out[at + channels : at + channels + cells]
            by_cell[:] = 0
            for c in range(channels):
                total = values.dtype.type(0)
                for p in range(cells):
                    part = values[start + c * cells + p] * weights[start + c * cells + p]
                    total += part
                    by_cell[p] += part
                out[at + c] = total * (one / values.dtype.type(cells))
            for p in range(cells):
                by_cell[p] *= one / values.dtype.type(channels)
            at += channels + cells


@inlined
def write_output(layouts, deviation, sign, out):
    """Write deviations (width,) to `out` or, with `layouts`, the means of their magnitudes; set `sign` (width,)."""
    zero, one = deviation.dtype.type(0), deviation.dtype.type(1)
    if layouts.shape[0]:
        for c in range(deviation.shape[0]):
            sign[c] = -one if deviation[c] < zero else one
        pool(layouts, deviation, sign, out)
    else:
        out[:] = deviation


@kernel
def leaky(z, dt, taus, layouts, traces, seen, out, slopes, drift):
    """Compute deviations d = z - e, or means of |d|, and e ← e + (1 - exp(-Δt/τ)) d; see Traces and Magnitudes.

    Args:
        z: (batch, steps, width); dt: (batch, steps) seconds; taus: (n,) seconds.
        layouts: (nodes, 4) int64, see `pool`; of length 0 for the deviations themselves.
        traces: (batch, n, width), and seen (batch,): the state, updated in place.
        out: (batch, steps, n, size), filled with the outputs.
        slopes: like `out`, filled with its derivatives with respect to τ; of length 0 if they are not needed.
        drift: (batch, n, width), initially 0; becomes the derivative of the last traces with respect to τ. Of length 0
            if it is not needed.
    """
    batch, steps, width = z.shape
    deviation, sign = np.empty(width, z.dtype), np.empty(width, z.dtype)
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for b in range(batch):
        for t in range(steps):
            now = z[b, t]
            for k in range(taus.shape[0]):
                e = traces[b, k]
                if seen[b] == 0:
                    for c in range(width):
                        deviation[c] = now[c] - now[c]  # 0, or NaN
                    if dt[b, t] > 0:
                        e[:] = now
                else:
                    for c in range(width):
                        deviation[c] = now[c] - e[c]
                ratio = dt[b, t] / taus[k]
                gain = z.dtype.type(-math.expm1(-ratio))
                write_output(layouts, deviation, sign, out[b, t, k])
                if seen[b] != 0:
                    for c in range(width):
                        e[c] += gain * deviation[c]
                if slopes.shape[0]:
                    lag = drift[b, k]
                    if layouts.shape[0]:
                        for c in range(width):
                            sign[c] = zero if deviation[c] == zero else -sign[c]
                        pool(layouts, lag, sign, slopes[b, t, k])
                    else:
                        for c in range(width):
                            slopes[b, t, k, c] = -lag[c]
                    slope = z.dtype.type(-math.exp(-ratio) * ratio) / taus[k]
                    for c in range(width):
                        lag[c] = (one - gain) * lag[c] + slope * deviation[c]
            if dt[b, t] > 0:
                seen[b] = one


@kernel
def straight(z, dt, taus, layouts, traces, last, seen, out):
    """Compute d ← exp(-Δt/τ) d + τ/Δt (1 - exp(-Δt/τ)) (z - last), or means of |d|; see Traces and Magnitudes.

    Args:
        z, dt, taus, layouts, out: see `leaky`.
        traces: d (batch, n, width), last: z (batch, width), and seen (batch,): the state, updated in place.
    """
    batch, steps, width = z.shape
    moved, deviation, sign = np.empty(width, z.dtype), np.empty(width, z.dtype), np.empty(width, z.dtype)
    one = z.dtype.type(1)
    for b in range(batch):
        for t in range(steps):
            now = z[b, t]
            for c in range(width):
                moved[c] = now[c] - (now[c] if seen[b] == 0 else last[b, c])  # 0, or NaN, for a first frame
            for k in range(taus.shape[0]):
                ratio = dt[b, t] / taus[k]
                decay = z.dtype.type(math.exp(-ratio))
                gain = z.dtype.type(-math.expm1(-ratio) / ratio) if ratio > 0 else one
                for c in range(width):
                    deviation[c] = decay * traces[b, k, c] + gain * moved[c]
                write_output(layouts, deviation, sign, out[b, t, k])
                if dt[b, t] > 0:
                    traces[b, k] = deviation
            if dt[b, t] > 0:
                last[b], seen[b] = now, one
