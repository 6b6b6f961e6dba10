"""Eq. 1 of the LTC paper over frames, forward and backward, with a constant or a gated equilibrium.

In the backward pass `by_x` is the gradient of the loss with respect to `x`.
"""

import numpy as np

from liquidvision.liquid.kernels.scalar import LOG2E, exp2, inlined, kernel, step, step_adjoint


@inlined
def sigmoid(x):
    one = type(x)(1)
    return one / (one + exp2(-type(x)(LOG2E) * x))


@kernel
def gates_forward(prepared, recurrent, leak, gain, equilibrium, dt, unfolds, start, exponential, states, taus, path):
    """Step with rate G = leak + gain s and drive gain s A, s = σ(z), A constant or tanh(z'); see LTC and GatedLTC.

    Args:
        prepared: contribution of the inputs to z, or to z and z' concatenated, (batch, steps, maps * units).
        recurrent: weights of the states' contribution, (units, maps * units), from row to column.
        leak, gain: 1/τ and k per second, (units,); equilibrium: A (units,), of length 0 if gated.
        dt, unfolds: (batch, steps), seconds and number of solver steps of each frame.
        start: (batch, units), the states before the first frame.
        states, taus: (batch, steps, units), filled with the results.
        path: (batch, total solver steps, 3, units), filled with x, s and A of each solver step for the backward pass;
            of length 0 if there is none.
    """
    batch, steps, units = states.shape
    width = prepared.shape[2]
    v, z, a = np.empty(units, dt.dtype), np.empty(width, dt.dtype), np.empty(units, dt.dtype)
    two, one = dt.dtype.type(2), dt.dtype.type(1)
    gated = equilibrium.shape[0] == 0
    if not gated:
        a[:] = equilibrium
    for b in range(batch):
        v[:] = start[b]
        at = 0
        for t in range(steps):
            h = dt[b, t] / dt.dtype.type(unfolds[b, t])
            for _ in range(unfolds[b, t]):
                z[:] = prepared[b, t]
                for i in range(units):
                    x = v[i]
                    for m in range(width):
                        z[m] += recurrent[i, m] * x
                for j in range(units):
                    z[j] = sigmoid(z[j])
                if gated:
                    for j in range(units):
                        a[j] = two * sigmoid(two * z[units + j]) - one
                if path.shape[0]:
                    path[b, at, 0], path[b, at, 1], path[b, at, 2] = v, z[:units], a
                    at += 1
                for j in range(units):
                    f = gain[j] * z[j]
                    z[j] = leak[j] + f
                    v[j] = step(v[j], z[j], f * a[j], h, exponential)
            for j in range(units):
                states[b, t, j] = v[j]
                taus[b, t, j] = one / z[j]


@kernel
def gates_backward(
    recurrent, leak, gain, gated, dt, unfolds, exponential, path, by_states, by_taus,
    by_v, by_z, by_leak, by_gain, by_equilibrium, by_prepared, by_dt,
):  # fmt: skip
    """The adjoint of `gates_forward`, from the last frame to the first.

    Args:
        by_states, by_taus: (batch, steps, units), gradients with respect to the results.
        by_v: (batch, units), the gradient with respect to the last state; replaced by that of the first.
        by_z: (batch, total solver steps, maps * units), filled with the gradients with respect to z and z'.
        by_leak, by_gain, by_equilibrium: (units,), gradients to add to.
        by_prepared: (batch, steps, maps * units), and by_dt (batch, steps), gradients to add to, initially 0.
    """
    batch, steps, units = by_states.shape
    width = by_z.shape[2]
    one = dt.dtype.type(1)
    for b in range(batch):
        at = 0
        for t in range(steps):
            at += unfolds[b, t]
        g = by_v[b]
        for t in range(steps - 1, -1, -1):
            count = dt.dtype.type(unfolds[b, t])
            h = dt[b, t] / count
            for j in range(units):
                g[j] += by_states[b, t, j]
            for u in range(unfolds[b, t] - 1, -1, -1):
                at -= 1
                by_h = dt.dtype.type(0)
                bz = by_z[b, at]
                for j in range(units):
                    v, s, a = path[b, at, 0, j], path[b, at, 1, j], path[b, at, 2, j]
                    f = gain[j] * s
                    rate = leak[j] + f
                    keep, to_rate, to_drive, to_h = step_adjoint(v, rate, f * a, h, exponential)
                    by_rate, by_drive = to_rate * g[j], to_drive * g[j]
                    by_h += to_h * g[j]
                    g[j] *= keep
                    if u == unfolds[b, t] - 1:
                        by_rate -= by_taus[b, t, j] / (rate * rate)
                    by_f = by_rate + a * by_drive
                    by_leak[j] += by_rate
                    by_gain[j] += by_f * s
                    bz[j] = by_f * gain[j] * s * (one - s)
                    if gated:
                        bz[units + j] = by_drive * f * (one - a * a)
                    else:
                        by_equilibrium[j] += by_drive * f
                by_dt[b, t] += by_h / count
                for m in range(width):
                    by_prepared[b, t, m] += bz[m]
                for i in range(units):
                    total = dt.dtype.type(0)
                    for m in range(width):
                        total += recurrent[i, m] * bz[m]
                    g[i] += total
