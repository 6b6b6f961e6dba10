"""Wirings: the synapses between inputs and neurons and their signs; full, NCP and AutoNCP."""

from dataclasses import dataclass

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.liquid.cell import check_sizes


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """The synapses between inputs and neurons.

    Attributes:
        sensory: (inputs, neurons) int8, from input to neuron: 1 excitatory, -1 inhibitory, 0 no synapse.
        recurrent: (neurons, neurons) int8, from row to column, likewise.
        outputs: number of motor neurons; the states of the first `outputs` neurons are the output.

    Raises:
        UsageError: shapes that do not match, or a value other than -1, 0 and 1.
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
                raise UsageError("a wiring has another value than -1, 0 and 1; expected the sign of each synapse, or 0")

    @property
    def inputs(self) -> int:
        return self.sensory.shape[0]

    @property
    def neurons(self) -> int:
        return self.recurrent.shape[0]

    @property
    def synapses(self) -> int:
        """Number of synapses, including those from inputs."""
        return int(np.count_nonzero(self.sensory) + np.count_nonzero(self.recurrent))


def full(inputs: int, neurons: int, *, outputs: int | None = None, seed: int = 0) -> Wiring:
    """Connect every input and every neuron to every neuron; both signs are equally likely."""
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
    """Build a neural circuit policy: inputs → inter → command (recurrent) → motor (Lechner et al., Nature MI 2020).

    Neurons are ordered motor, command, inter; signs are random. A neuron that no synapse of the layer before reaches
    gets as many synapses as the others have on average (paper, Methods, design step 2).

    Args:
        inputs: number of inputs.
        inter: number of inter neurons.
        command: number of command neurons.
        motor: number of motor neurons, whose states are the output.
        sensory_fanout: number of inter neurons that each input connects to.
        inter_fanout: number of command neurons that each inter neuron connects to.
        recurrent_command: number of synapses drawn among the command neurons; duplicates count once.
        motor_fanin: number of command neurons that connect to each motor neuron.
        seed: seed of all random choices.

    Raises:
        UsageError: a size below 1, or a fan-out or fan-in larger than the layer.
    """
    check_sizes(inputs=inputs, inter=inter, command=command, motor=motor)
    for name, value, layer_size in (
        ("sensory_fanout", sensory_fanout, inter),
        ("inter_fanout", inter_fanout, command),
        ("motor_fanin", motor_fanin, command),
    ):
        if not 1 <= value <= layer_size:
            raise UsageError(f"{name} is {value}; expected 1 to {layer_size}, the neurons of that layer")
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
    """Build an NCP of a given size: two fifths of the neurons that are not motor neurons are command neurons.

    Args:
        inputs: number of inputs.
        neurons: number of neurons of all layers.
        outputs: number of motor neurons, whose states are the output.
        sparsity: share of a layer's possible synapses to leave out, 0 to 0.9.
        seed: seed of all random choices.

    Raises:
        UsageError: fewer than two neurons besides the motor neurons, or a sparsity out of range.
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
    """Draw (sources, targets) signs: `fanout` targets per source; a target left out gets the mean number of sources."""
    chosen = np.zeros((sources, targets), bool)
    for row in chosen:
        row[random.choice(targets, fanout, replace=False)] = True
    mean_fanin = max(round(sources * fanout / targets), 1)
    for target in np.flatnonzero(~chosen.any(0)):
        chosen[random.choice(sources, min(mean_fanin, sources), replace=False), target] = True
    return np.where(chosen, random_signs(random, chosen.shape), 0).astype(np.int8)


def random_signs(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw -1 and 1 with equal probability, int8 of this shape."""
    return (2 * random.integers(2, size=shape) - 1).astype(np.int8)
