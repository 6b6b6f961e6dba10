"""The interface of recurrent cells, pure functions of (input, state, Δt), and checks of their arguments."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor, nn

from liquidvision.errors import UsageError

Prepared = tuple[Tensor, ...]


class Cell(nn.Module, ABC):
    """A recurrent layer whose steps take the elapsed seconds.

    A cell holds no state: the state is an argument and a result. `prepare` computes everything that depends on the
    input alone, for all frames at once and outside the loop over time. In every cell a step with Δt = 0 leaves the
    state unchanged, so padding and repeated frames have no effect on it.

    Attributes:
        input_size: width of an input.
        units: number of neurons, each with a time constant; 0 for a cell without time constants.
        output_size: width of an output.
        state_size: width of the state; a cell with several states concatenates them.
    """

    input_size: int
    units: int
    output_size: int
    state_size: int

    def initial(self, batch: int) -> Tensor:
        """Return the initial state of `batch` streams, (batch, state_size)."""
        return next(self.parameters()).new_zeros(batch, self.state_size)

    @abstractmethod
    def prepare(self, x: Tensor) -> Prepared:
        """Compute what the steps need from the inputs alone: from x (..., input_size), tensors (..., n)."""

    @abstractmethod
    def advance(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Advance the state by one step of dt seconds.

        Args:
            prepared: the results of `prepare` for this frame, (batch, n) each.
            state: (batch, state_size).
            dt: (batch, 1) seconds, finite and not negative; 0 leaves the state unchanged.

        Returns:
            The output (batch, output_size), the new state (batch, state_size), and the effective time
            constants (batch, units) in seconds during the step (its last unfold).
        """

    def run(self, prepared: Prepared, state: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Advance the state over all frames.

        Args:
            prepared: the results of `prepare`, (batch, steps, n) each; 1 step or more.
            state: (batch, state_size).
            dt: (batch, steps) seconds.

        Returns:
            Outputs (batch, steps, output_size), the last state (batch, state_size), and the effective time constants
            (batch, steps, units) in seconds.
        """
        if dt.shape[1] == 1:  # a stream that arrives frame by frame
            output, state, tau = self.advance(tuple(p[:, 0] for p in prepared), state, dt)
            return output[:, None], state, tau[:, None]
        outputs, taus = [], []
        # Unbind once: the backward pass of each p[:, t] would allocate a tensor as large as p.
        for *frame, seconds in zip(*(p.unbind(1) for p in prepared), dt.split(1, 1), strict=True):
            output, state, tau = self.advance(tuple(frame), state, seconds)
            outputs.append(output)
            taus.append(tau)
        return torch.stack(outputs, 1), state, torch.stack(taus, 1)

    def forward(
        self,
        x: Tensor,
        dt: Tensor | float,
        state: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        restart: Tensor | None = None,
        return_time_constants: bool = False,
    ) -> tuple[Tensor, ...]:
        """Run the cell over streams of inputs.

        Args:
            x: inputs (batch, steps, input_size), 1 step or more.
            dt: seconds since the previous frame: a number, (batch,), (batch, steps) or (batch, steps, 1).
            state: (batch, state_size), the state that an earlier call returned; None for the initial state.
            lengths: (batch,) number of valid frames of each stream; later frames are padding and leave the state
                unchanged.
            restart: (batch, steps) bool, frames before which the state is replaced by the initial one. None: none.
            return_time_constants: also return the effective time constants.

        Returns:
            Outputs (batch, steps, output_size) and the last state (batch, state_size); with `return_time_constants`
            also (batch, steps, units) in seconds. Outputs of padding frames are meaningless.

        Raises:
            UsageError: a wrong shape, or a Δt that is negative, NaN or infinite.
        """
        x, seconds = as_streams(x, dt, lengths, self.input_size, "inputs")
        batch = len(x)
        if state is None:
            state = self.initial(batch)
        elif state.shape != (batch, self.state_size):
            raise UsageError(f"state has shape {tuple(state.shape)}; expected ({batch}, {self.state_size})")
        prepared = self.prepare(x)
        if restart is None or not bool(restart.any()):
            outputs, state, taus = self.run(prepared, state, seconds)
        else:
            outputs, state, taus = self.run_restarted(prepared, state, seconds, restart)
        return (outputs, state, taus) if return_time_constants else (outputs, state)

    def run_restarted(
        self, prepared: Prepared, state: Tensor, dt: Tensor, restart: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Do what `run` does, with the state replaced by the initial one before the frames `restart` (batch, steps).

        The frames from one restart to the next do not depend on those before them, so all such stretches run side by
        side.
        """
        batch, steps = dt.shape
        begins = restart.clone()
        begins[:, 0] = True
        firsts = begins.flatten().nonzero()[:, 0]  # of each stretch; frames are counted through all streams
        stretch = begins.flatten().cumsum(0) - 1  # of each frame
        place = torch.arange(batch * steps, device=dt.device) - firsts[stretch]  # of each frame in its stretch
        lengths = firsts.diff(append=firsts.new_tensor([batch * steps]))
        start = torch.where(restart.flatten()[firsts, None], self.initial(len(firsts)), state[firsts // steps])
        sizes = lengths.double().log2().ceil()  # stretches of similar lengths run together, so that little is padding
        parts = []
        for size in sizes.unique():
            members = (sizes == size).nonzero()[:, 0]
            frames = (sizes == size)[stretch].nonzero()[:, 0]
            where = torch.searchsorted(members, stretch[frames]), place[frames]
            shape = len(members), int(lengths[members].max())
            laid_out = [_lay_out(values, frames, where, shape) for values in (*prepared, dt)]
            ran = self.run(tuple(laid_out[:-1]), start[members], laid_out[-1])
            parts.append((frames, ran[0][where], ran[2][where], members, ran[1]))
        frames, outputs, taus, members, states = (torch.cat(part) for part in zip(*parts, strict=True))
        order, last = frames.argsort(), members.argsort()[stretch[steps - 1 :: steps]]
        return outputs[order].view(batch, steps, -1), states[last], taus[order].view(batch, steps, -1)

    def step(self, x: Tensor, dt: Tensor | float, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Advance each stream by one frame: x (batch, input_size), dt a number or (batch,). Return output and state."""
        outputs, state = self(x[:, None], dt, state)
        return outputs[:, 0], state


def _lay_out(values: Tensor, frames: Tensor, where: tuple[Tensor, Tensor], shape: tuple[int, int]) -> Tensor:
    """Return some frames of values (batch, steps, ...) at other places of a tensor (*shape, ...), which is 0 elsewhere.

    Args:
        values: (batch, steps, ...).
        frames: (n,) indices of the frames, counted through all streams.
        where: (n,) row and step of each frame in the result.
        shape: rows and steps of the result.
    """
    laid_out = values.new_zeros(*shape, *values.shape[2:])
    laid_out[where] = values.flatten(0, 1)[frames]
    return laid_out


def as_streams(
    x: Tensor, dt: Tensor | float, lengths: Tensor | Sequence[int] | None, width: int, what: str
) -> tuple[Tensor, Tensor]:
    """Check streams and their Δt; set both to 0 in the padding.

    Args:
        x: (batch, steps, width).
        dt, lengths: see `Cell.forward`.
        width: the expected width.
        what: what x holds, for the error message.

    Returns:
        x (batch, steps, width) and Δt (batch, steps).

    Raises:
        UsageError: a wrong shape, or a Δt that is negative, NaN or infinite.
    """
    if x.ndim != 3 or x.shape[-1] != width or x.shape[1] < 1:
        raise UsageError(f"{what} have shape {tuple(x.shape)}; expected (batch, steps, {width})")
    batch, steps, _ = x.shape
    seconds = as_dt(dt, batch, steps, x)
    if lengths is None:
        return x, seconds
    counted = as_mask(lengths, batch, steps, x)
    # x is not multiplied by the mask, since 0 times NaN is NaN.
    return x.masked_fill(counted[..., None] == 0, 0.0), seconds * counted


def as_dt(dt: Tensor | float, batch: int, steps: int, like: Tensor) -> Tensor:
    """Return Δt as (batch, steps) from a number, (batch,), (batch, steps) or (batch, steps, 1).

    Raises:
        UsageError: another shape, or a value that is negative, NaN or infinite.
    """
    if isinstance(dt, float | int):
        if not 0 <= dt < math.inf:
            raise UsageError(f"dt holds {dt}; expected finite seconds, 0 or more")
        return like.new_full((batch, steps), dt)
    given = torch.as_tensor(dt, dtype=like.dtype, device=like.device)
    shape = tuple(given.shape)
    if shape == (batch, steps, 1):
        given = given[..., 0]
    elif shape == (batch,):
        given = given[:, None].expand(batch, steps)
    elif shape == ():
        given = given.expand(batch, steps)
    elif shape != (batch, steps):
        raise UsageError(
            f"dt has shape {shape}; expected a number, ({batch},), ({batch}, {steps}) or ({batch}, {steps}, 1) seconds"
        )
    if given.is_meta or not given.numel():
        return given
    lowest, highest = (float(end) for end in given.detach().aminmax())  # both NaN if one value is
    if not 0 <= lowest <= highest < math.inf:
        wrong = ~(torch.isfinite(given) & (given >= 0))
        raise UsageError(f"dt holds {given[wrong][0].item()}; expected finite seconds, 0 or more")
    return given


def as_mask(lengths: Tensor | Sequence[int], batch: int, steps: int, like: Tensor) -> Tensor:
    """Return a mask (batch, steps), 1 for valid frames and 0 for padding, from the streams' lengths (batch,).

    Raises:
        UsageError: another shape, or a length outside 0..steps.
    """
    given = torch.as_tensor(lengths, device=like.device)
    wrong = (given < 0) | (given > steps)
    kinds = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    if given.shape != (batch,) or given.dtype not in kinds or (not given.is_meta and bool(wrong.any())):
        shown = given.tolist() if given.numel() <= 16 else f"of shape {tuple(given.shape)}"
        raise UsageError(f"lengths is {shown}; expected {batch} whole numbers from 0 to {steps}")
    return (torch.arange(steps, device=like.device)[None] < given[:, None]).to(like.dtype)


def hold_at_zero_dt(new: Tensor, old: Tensor, dt: Tensor) -> Tensor:
    """Return `new` (batch, n) where Δt (batch, 1) > 0, otherwise `old`: for cells that would move at Δt = 0."""
    return torch.where(dt > 0, new, old)


def check_sizes(**sizes: object) -> None:
    """Raise UsageError for the first size that is not a whole number of 1 or more."""
    for name, value in sizes.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
            hint = "; only ConductanceLTC takes a wiring" if type(value).__name__ == "Wiring" else ""
            raise UsageError(f"{name} is {value if not hint else 'a Wiring'}; expected a whole number, 1 or more{hint}")
