"""Sums over synapses: Σ w σ(a (v - μ)) and Σ w E σ(a (v - μ)), forward and backward, dense or sparse.

A synapse is laid out as `scale` = -a log2(e) and `shift` = a μ log2(e), so that σ = 1 / (1 + 2^(scale v + shift)).
Synapses lie source by source, as in (sources, units) raveled; sparse ones leave out those that are not
there, with their sources and units in `pre` and `post` (n,). Dense ones have both empty.
"""

import numpy as np

from liquidvision.liquid.kernels.scalar import LOG2E, exp2, inlined, kernel, step, step_adjoint


@inlined
def add_sums(scale, shift, weight, driven, pre, post, v, total, current, scratch):
    """Add the sums over the sources v (sources,) to total and current (units,); driven is w E."""
    units = total.shape[0]
    one = v.dtype.type(1)
    if pre.shape[0] == 0:
        for i in range(v.shape[0]):
            x = v[i]
            row = i * units
            for j in range(units):
                s = one / (one + exp2(scale[row + j] * x + shift[row + j]))
                total[j] += weight[row + j] * s
                current[j] += driven[row + j] * s
    else:
        # Gathering, computing and scattering apart: only the middle one vectorises.
        for k in range(pre.shape[0]):
            scratch[0, k] = v[pre[k]]
        for k in range(pre.shape[0]):
            scratch[0, k] = one / (one + exp2(scale[k] * scratch[0, k] + shift[k]))
        for k in range(pre.shape[0]):
            j = post[k]
            total[j] += weight[k] * scratch[0, k]
            current[j] += driven[k] * scratch[0, k]


@inlined
def add_gradients(scale, shift, weight, reversal, pre, post, v, by_total, by_current, by_v, sums, scratch):
    """The adjoint of `add_sums`: by_v (sources,) gets Σ scale w s (1 - s) (∂total + E ∂current), unscaled,
    and the rows of sums (4, n) get what the gradients by w, E, a and μ are made of: see `finish`."""
    units = by_total.shape[0]
    one = v.dtype.type(1)
    by_weight, by_reversal, by_argument, by_slope = sums[0], sums[1], sums[2], sums[3]
    if pre.shape[0] == 0:
        for i in range(v.shape[0]):
            x = v[i]
            row = i * units
            total = v.dtype.type(0)
            for j in range(units):
                k = row + j
                s = one / (one + exp2(scale[k] * x + shift[k]))
                z = by_total[j] + by_current[j] * reversal[k]
                by_weight[k] += z * s
                by_reversal[k] += by_current[j] * s
                z = z * s * (one - s)
                by_argument[k] += z
                by_slope[k] += z * x
                total += scale[k] * weight[k] * z
            by_v[i] += total
    else:
        x, t, c, back = scratch[0], scratch[1], scratch[2], scratch[3]
        for k in range(pre.shape[0]):
            x[k], t[k], c[k] = v[pre[k]], by_total[post[k]], by_current[post[k]]
        for k in range(pre.shape[0]):
            s = one / (one + exp2(scale[k] * x[k] + shift[k]))
            z = t[k] + c[k] * reversal[k]
            by_weight[k] += z * s
            by_reversal[k] += c[k] * s
            z = z * s * (one - s)
            by_argument[k] += z
            by_slope[k] += z * x[k]
            back[k] = scale[k] * weight[k] * z
        for k in range(pre.shape[0]):
            by_v[pre[k]] += back[k]


@kernel
def synapses_forward(scale, shift, weight, driven, pre, post, x, total, current):
    """The sums for rows of inputs x (rows, sources): total and current (rows, units), zero before."""
    scratch = np.empty((4, pre.shape[0]), x.dtype)
    for n in range(x.shape[0]):
        add_sums(scale, shift, weight, driven, pre, post, x[n], total[n], current[n], scratch)


@kernel
def synapses_backward(scale, shift, weight, reversal, pre, post, x, by_total, by_current, by_x, sums):
    """The adjoint for rows of inputs: by_x (rows, sources), unscaled, and sums (4, n), zero before."""
    scratch = np.empty((4, pre.shape[0]), x.dtype)
    for n in range(x.shape[0]):
        add_gradients(
            scale, shift, weight, reversal, pre, post, x[n], by_total[n], by_current[n], by_x[n], sums, scratch
        )


@kernel
def conductance_forward(
    scale, shift, weight, driven, pre, post, leak, leak_drive, capacitance, total_in, current_in, dt, unfolds, start,
    exponential, states, taus, path,
):  # fmt: skip
    """The conductance form over frames; see ConductanceLTC.

    Args:
        leak, leak_drive, capacitance: g, g vleak and cm, (units,).
        total_in, current_in: the inputs' sums, (batch, steps, units).
        dt, unfolds: (batch, steps) seconds, and the number of solver steps each is divided into.
        start: (batch, units) states before.
        states, taus: (batch, steps, units) to fill.
        path: (batch, unfolds in all, 3, units) to fill with each solver step's v, G and drive for the
            way back, or of length 0 where nobody asks.
    """
    batch, steps, units = states.shape
    v, total, current = np.empty(units, dt.dtype), np.empty(units, dt.dtype), np.empty(units, dt.dtype)
    scratch = np.empty((4, pre.shape[0]), dt.dtype)
    for b in range(batch):
        v[:] = start[b]
        at = 0
        for t in range(steps):
            h = dt[b, t] / dt.dtype.type(unfolds[b, t])
            for _ in range(unfolds[b, t]):
                for j in range(units):
                    total[j] = leak[j] + total_in[b, t, j]
                    current[j] = leak_drive[j] + current_in[b, t, j]
                add_sums(scale, shift, weight, driven, pre, post, v, total, current, scratch)
                if path.shape[0]:
                    for j in range(units):
                        path[b, at, 0, j] = v[j]
                        path[b, at, 1, j] = total[j] / capacitance[j]
                        path[b, at, 2, j] = current[j] / capacitance[j]
                    at += 1
                for j in range(units):
                    total[j] /= capacitance[j]
                    v[j] = step(v[j], total[j], current[j] / capacitance[j], h, exponential)
            for j in range(units):
                states[b, t, j] = v[j]
                taus[b, t, j] = dt.dtype.type(1) / total[j]


@kernel
def conductance_backward(
    scale, shift, weight, reversal, pre, post, capacitance, dt, unfolds, exponential, path,
    by_states, by_taus, by_v, sums, by_rate_sum, by_drive_sum, by_capacitance, by_total_in, by_current_in, by_dt,
):  # fmt: skip
    """The adjoint of `conductance_forward`, from the last frame to the first.

    Args:
        by_states, by_taus: (batch, steps, units) gradients by its results.
        by_v: (batch, units): the gradient by the last state; becomes that by the first.
        sums: (4, synapses), by_rate_sum, by_drive_sum, by_capacitance: (units,) gradients by the
            synapses, g, g vleak and cm, to add to.
        by_total_in, by_current_in: (batch, steps, units), and by_dt (batch, steps), zero before.
    """
    batch, steps, units = by_states.shape
    by_total, by_current, back = np.empty(units, dt.dtype), np.empty(units, dt.dtype), np.empty(units, dt.dtype)
    scratch = np.empty((4, pre.shape[0]), dt.dtype)
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
                for j in range(units):
                    v, rate, drive = path[b, at, 0, j], path[b, at, 1, j], path[b, at, 2, j]
                    keep, to_rate, to_drive, to_h = step_adjoint(v, rate, drive, h, exponential)
                    back[j], by_rate, by_drive = keep * g[j], to_rate * g[j], to_drive * g[j]
                    by_h += to_h * g[j]
                    if u == unfolds[b, t] - 1:
                        by_rate -= by_taus[b, t, j] / (rate * rate)
                    by_total[j] = by_rate / capacitance[j]
                    by_current[j] = by_drive / capacitance[j]
                    by_capacitance[j] -= (by_rate * rate + by_drive * drive) / capacitance[j]
                    by_rate_sum[j] += by_total[j]
                    by_drive_sum[j] += by_current[j]
                    by_total_in[b, t, j] += by_total[j]
                    by_current_in[b, t, j] += by_current[j]
                by_dt[b, t] += by_h / count
                for j in range(units):
                    g[j] = 0
                add_gradients(
                    scale, shift, weight, reversal, pre, post, path[b, at, 0], by_total, by_current, g, sums, scratch
                )
                for j in range(units):
                    g[j] = back[j] - g[j] / dt.dtype.type(LOG2E)
