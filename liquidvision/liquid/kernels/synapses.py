"""Sums over synapses: Σ w σ(a (v - μ)) and Σ w E σ(a (v - μ)), forward and backward, dense or sparse.

Each column of `table` (4, n) is a synapse. Its first two entries are -a log2(e) and a μ log2(e), so that
σ = 1 / (1 + 2^(first v + second)). The others are w and w E (forward), or -a log2(e) w and E (backward).

Dense: the columns form rows of `lanes` entries, flattened. Row i holds the synapses of source i, lane j those of unit
j; weights of 0 pad the lanes to a number that vectorises. `pre` and `post` are empty.

Sparse: the columns are the existing synapses, ordered by source; `pre` and `post` (n,) are their sources and units,
and `lanes` is n.

In backward passes `by_x` is the gradient of the loss with respect to `x`.
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
        # Gather, compute and scatter in separate loops: only the second vectorises.
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
    """The adjoint of `add_sums`.

    Adds the gradient with respect to v, times -log2(e), to by_v (sources,), and the terms of the gradients with respect
    to w, E, a and μ to the rows of sums (4, n); see `dispatch.synapse_gradients`.
    """
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


@inlined
def add_gradients_of_two(table, v, by_total, by_current, by_v, sums, scratch):
    """`add_gradients` for two sets of dense sources at once: v, by_v (2, sources), by_total, by_current (2, units).

    It reads the table and updates the sums once for both sets, and one division serves two sigmoids.
    """
    scale, shift, pull, reversal = table[0], table[1], table[2], table[3]
    by_weight, by_reversal, by_argument, by_slope = sums[0], sums[1], sums[2], sums[3]
    lanes, units = scratch.shape[1], by_total.shape[1]
    one = v.dtype.type(1)
    t, c, p, q = scratch[0], scratch[1], scratch[2], scratch[3]
    scratch[:] = 0
    t[:units], c[:units], p[:units], q[:units] = by_total[0], by_current[0], by_total[1], by_current[1]
    for i in range(v.shape[1]):
        x, y = v[0, i], v[1, i]
        row = i * lanes
        by_x, by_y = v.dtype.type(0), v.dtype.type(0)
        for j in range(lanes):
            k = row + j
            d = one + exp2(scale[k] * x + shift[k])
            e = one + exp2(scale[k] * y + shift[k])
            both = one / (d * e)
            s, r = both * e, both * d
            z = (t[j] + c[j] * reversal[k]) * s
            w = (p[j] + q[j] * reversal[k]) * r
            by_weight[k] += z + w
            by_reversal[k] += c[j] * s + q[j] * r
            z -= z * s
            w -= w * r
            by_argument[k] += z + w
            by_slope[k] += z * x + w * y
            by_x += pull[k] * z
            by_y += pull[k] * w
        by_v[0, i] += by_x
        by_v[1, i] += by_y


@kernel
def synapses_forward(table, pre, post, lanes, x, total, current):
    """Add the sums for rows of inputs x (rows, sources) to total and current (rows, units), which are 0 before."""
    scratch = np.empty((4, lanes), x.dtype)
    for n in range(x.shape[0]):
        add_sums(table, pre, post, x[n], total[n], current[n], scratch)


@kernel
def synapses_backward(table, pre, post, lanes, x, by_total, by_current, by_x, sums):
    """The adjoint of `synapses_forward`: adds to by_x (rows, sources), not scaled, and sums (4, n), 0 before."""
    scratch = np.empty((4, lanes), x.dtype)
    n = 0
    if pre.shape[0] == 0:
        for n in range(0, x.shape[0] - 1, 2):
            two = slice(n, n + 2)
            add_gradients_of_two(table, x[two], by_total[two], by_current[two], by_x[two], sums, scratch)
        n = x.shape[0] // 2 * 2
    for m in range(n, x.shape[0]):
        add_gradients(table, pre, post, x[m], by_total[m], by_current[m], by_x[m], sums, scratch)


@kernel
def conductance_forward(
    table, pre, post, lanes, leak, leak_drive, capacitance, total_in, current_in, dt, unfolds, start, exponential,
    states, taus, path,
):  # fmt: skip
    """Run the conductance form over frames; see ConductanceLTC.

    Args:
        leak, leak_drive, capacitance: g, g vleak and cm, (units,).
        total_in, current_in: sums over the inputs' synapses, (batch, steps, units).
        dt, unfolds: (batch, steps), seconds and number of solver steps of each frame.
        start: (batch, units), the states before the first frame.
        states, taus: (batch, steps, units), filled with the results.
        path: (batch, total solver steps, 3, units), filled with v, G and drive of each solver step for the backward
            pass; of length 0 if there is none.
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
        by_states, by_taus: (batch, steps, units), gradients with respect to the results.
        by_v: (batch, units), the gradient with respect to the last state; replaced by that of the first.
        sums: (4, n), by_rate_sum, by_drive_sum, by_capacitance: (units,), gradients with respect to the synapses, g,
            g vleak and cm, to add to.
        by_total_in, by_current_in: (batch, steps, units), and by_dt (batch, steps), gradients to add to, initially 0.
    """
    batch, steps, units = by_states.shape
    by_total, by_current = np.empty((2, units), dt.dtype), np.empty((2, units), dt.dtype)
    v, g = np.empty((2, units), dt.dtype), np.empty((2, units), dt.dtype)
    scratch = np.empty((4, lanes), dt.dtype)
    b = 0
    while b < batch:
        # Process two streams together if their solvers take the same steps.
        alike = b + 1 < batch and pre.shape[0] == 0 and (unfolds[b] == unfolds[min(b + 1, batch - 1)]).all()
        count = 2 if alike else 1
        at = unfolds[b].sum()
        for t in range(steps - 1, -1, -1):
            for m in range(count):
                for j in range(units):
                    by_v[b + m, j] += by_states[b + m, t, j]
            for u in range(unfolds[b, t] - 1, -1, -1):
                at -= 1
                for m in range(count):
                    n = b + m
                    h = dt[n, t] / dt.dtype.type(unfolds[n, t])
                    by_h = dt.dtype.type(0)
                    for j in range(units):
                        v[m, j], rate, drive = path[n, at, 0, j], path[n, at, 1, j], path[n, at, 2, j]
                        keep, to_rate, to_drive, to_h = step_adjoint(v[m, j], rate, drive, h, exponential)
                        by_rate, by_drive = to_rate * by_v[n, j], to_drive * by_v[n, j]
                        by_h += to_h * by_v[n, j]
                        by_v[n, j] *= keep
                        if u == unfolds[n, t] - 1:
                            by_rate -= by_taus[n, t, j] / (rate * rate)
                        by_total[m, j] = by_rate / capacitance[j]
                        by_current[m, j] = by_drive / capacitance[j]
                        by_capacitance[j] -= (by_rate * rate + by_drive * drive) / capacitance[j]
                        by_rate_sum[j] += by_total[m, j]
                        by_drive_sum[j] += by_current[m, j]
                        by_total_in[n, t, j] += by_total[m, j]
                        by_current_in[n, t, j] += by_current[m, j]
                    by_dt[n, t] += by_h / dt.dtype.type(unfolds[n, t])
                g[:] = 0
                if alike:
                    add_gradients_of_two(table, v, by_total, by_current, g, sums, scratch)
                else:
                    add_gradients(table, pre, post, v[0], by_total[0], by_current[0], g[0], sums, scratch)
                for m in range(count):
                    for j in range(units):
                        by_v[b + m, j] -= g[m, j] / dt.dtype.type(LOG2E)
        b += count
