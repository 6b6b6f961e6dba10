"""Wirings: which neuron has a synapse to which, and of which sign; full, NCP and AutoNCP."""

from dataclasses import dataclass

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import check_sizes


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """Synapses among inputs and neurons.

    Attributes:
        sensory: (inputs, neurons) int8: 1 excitatory, -1 inhibitory, 0 no synapse from input to neuron.
        recurrent: (neurons, neurons) int8, likewise, from row to column.
        outputs: the first so many neurons are those whose state is given out (motor neurons).

    Raises:
        UsageError: shapes that do not fit each other, or another value than -1, 0, 1.
    """

    sensory: np.ndarray
    recurrent: np.ndarray
    outputs: int

    def __post_init__(self) -> None:
        shapes = self.sensory.shape, self.recurrent.shape
        neurons = self.recurrent.shape[-1]
        if self.recurrent.shape != (neurons, neurons) or self.sensory.shape != (len(self.sensory), neurons):
            raise UsageError(f"synapses have shapes {shapes}; expected (inputs, neurons) and (neurons, neurons)")
        if not 1 <= self.outputs <= neurons:
            raise UsageError(f"outputs is {self.outputs}; expected 1 to {neurons}, the number of neurons")
        for synapses in (self.sensory, self.recurrent):
            if not np.isin(synapses, (-1, 0, 1)).all():
                raise UsageError("a wiring holds -1, 0 and 1; another value was found")

    @property
    def inputs(self) -> int:
        return self.sensory.shape[0]

    @property
    def neurons(self) -> int:
        return self.recurrent.shape[0]

    @property
    def synapses(self) -> int:
        """The number of synapses, those of the inputs included."""
        return int(np.count_nonzero(self.sensory) + np.count_nonzero(self.recurrent))


def full(inputs: int, neurons: int, *, outputs: int | None = None, seed: int = 0) -> Wiring:
    """Every input and every neuron to every neuron; signs at random, one as likely as the other."""
    check_sizes(inputs=inputs, neurons=neurons)
    random = np.random.default_rng(seed)
    sensory, recurrent = (random_signs(random, (n, neurons)) for n in (inputs, neurons))
    return Wiring(sensory, recurrent, neurons if outputs is None else outputs)


def ncp(
    inputs: int,
    *,
    inter: int,
    command: int,
    motor: int,
    sensory_fanout: int,
    inter_fanout: int,
    recurrent_command: int,
    motor_fanin: int,
    seed: int = 0,
) -> Wiring:
    """A neural circuit policy: inputs → inter → command (recurrent) → motor neurons (Lechner et al., Nature MI 2020).

    Neurons are numbered motor, command, inter; signs are at random.

    Args:
        inputs: number of inputs.
        inter: number of inter neurons.
        command: number of command neurons.
        motor: number of motor neurons, which are the outputs.
        sensory_fanout: inter neurons that each input goes to.
        inter_fanout: command neurons that each inter neuron goes to.
        recurrent_command: synapses drawn among the command neurons; one drawn twice counts once.
        motor_fanin: command neurons that each motor neuron hears.
        seed: of every draw.

    A neuron that no synapse of the layer before has reached gets as many as the others have on average
    (paper, Methods, design step 2).

    Raises:
        UsageError: a size below 1, or more partners than the next layer has neurons.
    """
    check_sizes(inputs=inputs, inter=inter, command=command, motor=motor)
    for name, value, most in (
        ("sensory_fanout", sensory_fanout, inter),
        ("inter_fanout", inter_fanout, command),
        ("motor_fanin", motor_fanin, command),
    ):
        if not 1 <= value <= most:
            raise UsageError(f"{name} is {value}; expected 1 to {most}, the neurons that there are")
    if recurrent_command < 0:
        raise UsageError(f"recurrent_command is {recurrent_command}; expected 0 or more")
    random = np.random.default_rng(seed)
    neurons = motor + command + inter
    motors, commands, inters = slice(0, motor), slice(motor, motor + command), slice(motor + command, neurons)
    sensory = np.zeros((inputs, neurons), np.int8)
    recurrent = np.zeros((neurons, neurons), np.int8)
    sensory[:, inters] = connect_layer(random, inputs, inter, sensory_fanout)
    recurrent[inters, commands] = connect_layer(random, inter, command, inter_fanout)
    among = random.integers(command, size=(2, recurrent_command)) + motor
    recurrent[among[0], among[1]] = random_signs(random, (recurrent_command,))
    recurrent[commands, motors] = connect_layer(random, motor, command, motor_fanin).T
    return Wiring(sensory, recurrent, motor)


def auto_ncp(inputs: int, neurons: int, outputs: int, *, sparsity: float = 0.5, seed: int = 0) -> Wiring:
    """An NCP of a given size: two fifths of the neurons that are not motor neurons are command neurons.

    Args:
        inputs: number of inputs.
        neurons: number of neurons in all layers.
        outputs: number of motor neurons, which are the outputs.
        sparsity: 0 to 0.9; the share of a layer's possible synapses that are left out.
        seed: of every draw.

    Raises:
        UsageError: fewer than two neurons beside the outputs, or a sparsity out of range.
    """
    if not 0 <= sparsity <= 0.9:
        raise UsageError(f"sparsity is {sparsity}; expected 0 to 0.9")
    if neurons < outputs + 2:
        raise UsageError(f"neurons is {neurons}; expected {outputs + 2} or more for {outputs} outputs")
    command = max(int(0.4 * (neurons - outputs)), 1)
    inter = neurons - outputs - command
    dense = 1 - sparsity
    return ncp(
        inputs,
        inter=inter,
        command=command,
        motor=outputs,
        sensory_fanout=max(int(inter * dense), 1),
        inter_fanout=max(int(command * dense), 1),
        recurrent_command=max(int(2 * command * dense), 1),
        motor_fanin=max(int(command * dense), 1),
        seed=seed,
    )


def connect_layer(random: np.random.Generator, sources: int, targets: int, fanout: int) -> np.ndarray:
    """(sources, targets) signs: `fanout` targets for each source; a target left out gets the mean number of sources."""
    chosen = np.zeros((sources, targets), bool)
    for row in chosen:
        row[random.choice(targets, fanout, replace=False)] = True
    mean_fanin = max(round(sources * fanout / targets), 1)
    for target in np.flatnonzero(~chosen.any(0)):
        chosen[random.choice(sources, min(mean_fanin, sources), replace=False), target] = True
    return np.where(chosen, random_signs(random, chosen.shape), 0).astype(np.int8)


def random_signs(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """-1 and 1 at random."""
    return (2 * random.integers(2, size=shape) - 1).astype(np.int8)
