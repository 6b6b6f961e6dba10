"""A liquid cell on a time series with irregular sampling: predict a sine from samples at random times.

python examples/time_series.py
"""

import torch

from liquidvision.liquid import LTC

torch.manual_seed(0)
cell, readout = LTC(1, 32), torch.nn.Linear(32, 1)
optimiser = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=0.01)
for step in range(151):
    dt = torch.rand(32, 40) * 0.2 + 0.01  # seconds since the sample before, different for each sequence
    phase = torch.rand(32, 1) * 6.28
    values = torch.sin(2 * dt.cumsum(1) + phase)[..., None]
    outputs, state = cell(values[:, :-1], dt[:, :-1])
    loss = torch.nn.functional.mse_loss(readout(outputs), values[:, 1:])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 50 == 0:
        print(f"step {step:3}  mean squared error {loss.item():.4f}")

_, _, taus = cell(values, dt, return_time_constants=True)
print(f"effective time constants: {taus.min().item():.3f} to {taus.max().item():.3f} s")
