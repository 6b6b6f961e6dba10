"""Sums over synapses: Σ w σ(a (v - μ)) and Σ w E σ(a (v - μ)), forward and backward, dense or sparse.

A synapse is a column of `table` (4, n): -a log2(e) and a μ log2(e), so that σ = 1 / (1 + 2^(first v + second)),
and, forward, w and w E, or, backward, -a log2(e) w and E. Dense: columns are rows of `lanes`, raveled, row i the
synapses of source i, lane j those of unit j, filled up with weights of 0 to a number of lanes that vectorises;
`pre` and `post` are empty. Sparse: columns are the synapses that there are, source by source, `pre` and `post`
(n,) their sources and units, and `lanes` is n.
"""

import numpy as np

from liquidvision.liquid.kernels.scalar import LOG2E, exp2, inlined, kernel, step, step_adjoint


@inlined
def add_sums(table, pre, post, v, total, current, scratch):
    """Add the sums over the sources v (sources,) to total and current (units,)."""
    scale, shift, weight, driven = table[0], table[1], table[2], table[3]
    lanes = scratch.shape[1]
    one = v.dtype.type(1)
    if pre.shape[0] == 0:
        t, c = scratch[0], scratch[1]
        t[:] = 0
        c[:] = 0
        for i in range(scale.shape[0] // lanes):
            x = v[i]
            row = i * lanes
            for j in range(lanes):
                s = one / (one + exp2(scale[row + j] * x + shift[row + j]))
                t[j] += weight[row + j] * s
                c[j] += driven[row + j] * s
        for j in range(total.shape[0]):
            total[j] += t[j]
            current[j] += c[j]
    else:
        # Gathering, computing and scattering apart: only the middle one vectorises.
        x = scratch[0]
        for k in range(lanes):
            x[k] = v[pre[k]]
        for k in range(lanes):
            x[k] = one / (one + exp2(scale[k] * x[k] + shift[k]))
        for k in range(lanes):
            total[post[k]] += weight[k] * x[k]
            current[post[k]] += driven[k] * x[k]


@inlined
def add_gradients(table, pre, post, v, by_total, by_current, by_v, sums, scratch):
    """The adjoint of `add_sums`: by_v (sources,) gets its gradient times -log2(e), and the rows of sums (4, n)
    what the gradients by w, E, a and μ are made of; see `quick.by_synapses`."""
    scale, shift, pull, reversal = table[0], table[1], table[2], table[3]
    by_weight, by_reversal, by_argument, by_slope = sums[0], sums[1], sums[2], sums[3]
    lanes = scratch.shape[1]
    one = v.dtype.type(1)
    t, c, back = scratch[0], scratch[1], scratch[2]
    if pre.shape[0] == 0:
        units = by_total.shape[0]
        t[:units], c[:units] = by_total, by_current
        t[units:] = 0
        c[units:] = 0
        for i in range(scale.shape[0] // lanes):
            x = v[i]
            row = i * lanes
            total = v.dtype.type(0)
            for j in range(lanes):
                k = row + j
                s = one / (one + exp2(scale[k] * x + shift[k]))
                z = (t[j] + c[j] * reversal[k]) * s
                by_weight[k] += z
                by_reversal[k] += c[j] * s
                z -= z * s
                by_argument[k] += z
                by_slope[k] += z * x
                total += pull[k] * z
            by_v[i] += total
    else:
        x = scratch[3]
        for k in range(lanes):
            x[k], t[k], c[k] = v[pre[k]], by_total[post[k]], by_current[post[k]]
        for k in range(lanes):
            s = one / (one + exp2(scale[k] * x[k] + shift[k]))
            z = (t[k] + c[k] * reversal[k]) * s
            by_weight[k] += z
            by_reversal[k] += c[k] * s
            z -= z * s
            by_argument[k] += z
            by_slope[k] += z * x[k]
            back[k] = pull[k] * z
        for k in range(lanes):
            by_v[pre[k]] += back[k]


@kernel
def synapses_forward(table, pre, post, lanes, x, total, current):
    """The sums for rows of inputs x (rows, sources): total and current (rows, units), zero before."""
    scratch = np.empty((4, lanes), x.dtype)
    for n in range(x.shape[0]):
        add_sums(table, pre, post, x[n], total[n], current[n], scratch)


@kernel
def synapses_backward(table, pre, post, lanes, x, by_total, by_current, by_x, sums):
    """The adjoint for rows of inputs: by_x (rows, sources), unscaled, and sums (4, n), zero before."""
    scratch = np.empty((4, lanes), x.dtype)
    for n in range(x.shape[0]):
        add_gradients(table, pre, post, x[n], by_total[n], by_current[n], by_x[n], sums, scratch)


@kernel
def conductance_forward(
    table, pre, post, lanes, leak, leak_drive, capacitance, total_in, current_in, dt, unfolds, start, exponential,
    states, taus, path,
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
    scratch = np.empty((4, lanes), dt.dtype)
    for b in range(batch):
        v[:] = start[b]
        at = 0
        for t in range(steps):
            h = dt[b, t] / dt.dtype.type(unfolds[b, t])
            for _ in range(unfolds[b, t]):
                for j in range(units):
                    total[j] = leak[j] + total_in[b, t, j]
                    current[j] = leak_drive[j] + current_in[b, t, j]
                add_sums(table, pre, post, v, total, current, scratch)
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
    table, pre, post, lanes, capacitance, dt, unfolds, exponential, path,
    by_states, by_taus, by_v, sums, by_rate_sum, by_drive_sum, by_capacitance, by_total_in, by_current_in, by_dt,
):  # fmt: skip
    """The adjoint of `conductance_forward`, from the last frame to the first.

    Args:
        by_states, by_taus: (batch, steps, units) gradients by its results.
        by_v: (batch, units): the gradient by the last state; becomes that by the first.
        sums: (4, n), by_rate_sum, by_drive_sum, by_capacitance: (units,) gradients by the
            synapses, g, g vleak and cm, to add to.
        by_total_in, by_current_in: (batch, steps, units), and by_dt (batch, steps), zero before.
    """
    batch, steps, units = by_states.shape
    by_total, by_current, back = np.empty(units, dt.dtype), np.empty(units, dt.dtype), np.empty(units, dt.dtype)
    scratch = np.empty((4, lanes), dt.dtype)
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
                add_gradients(table, pre, post, path[b, at, 0], by_total, by_current, g, sums, scratch)
                for j in range(units):
                    g[j] = back[j] - g[j] / dt.dtype.type(LOG2E)
