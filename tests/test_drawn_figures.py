"""The synthetic figures: their clips are repeatable, continuous and fair to a model that must use time."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.figures import ACTIONS, render_clip
from tools.figures.actions import Script
from tools.figures.body import Body, joints_of

ASPECT = 16 / 9


def clip(seed, times, **options):
    return list(render_clip(seed, times=times, size=(64, 64), **options))


def poses(plan, times, seed=5):
    """The joints without camera or idle movement: time stands still for everything but the script."""
    body = Body.drawn(np.random.default_rng(seed), "train")
    script = Script(np.random.default_rng(seed), (0.3, 1.4), body.height, plan)
    return np.stack([joints_of(body, script.at(float(time))[0], 0.0, ASPECT) for time in times])


def reaches(path, pose):
    """How near a path of poses comes to one pose."""
    return np.abs(path - pose).max(axis=(1, 2)).min()


def test_same_seed_same_pictures():
    """The same seed gives the same pictures, labels and joints."""
    times = [0.0, 0.4, 2.1]
    for a, b in zip(clip(7, times), clip(7, times), strict=True):
        assert (a.image == b.image).all() and a.label == b.label and (a.joints == b.joints).all()


def test_pictures_do_not_depend_on_the_other_instants():
    """A clip sampled at another rate shows the same picture at every shared instant."""
    slow, fast = clip(3, np.arange(0, 6, 0.5)), clip(3, np.arange(0, 6, 0.125))
    for a, b in zip(slow, fast[::4], strict=True):
        assert a.time == b.time and a.label == b.label and (a.image == b.image).all()


def test_splits_differ():
    """One seed stands for another person in another place in each split."""
    train, test = clip(1, [1.0])[0], clip(1, [1.0], split="test")[0]
    assert np.abs(train.image.astype(int) - test.image).mean() > 5


@pytest.mark.parametrize(
    ("there", "back"), [("sits down", "stands up"), ("raises an arm", "lowers an arm"), ("falls", "stands up")]
)
def test_a_motion_and_its_reverse_share_their_poses(there, back):
    """The way back passes through the very poses of the way there."""
    path = poses([(there, 1.0), (back, 1.0)], np.linspace(0, 1, 2001))
    for pose in poses([(there, 1.0), (back, 1.0)], np.linspace(1.05, 1.95, 7)):
        assert reaches(path, pose) < 0.005


def test_walking_does_not_betray_its_direction():
    """Walking left passes through the poses of walking right."""
    plan = [("walks right", 2.0), ("walks left", 2.0)]
    path = poses(plan, np.linspace(0.4, 1.6, 2001))
    path[..., 0] -= path[:, :1, 0]
    back = poses(plan, np.linspace(2.5, 3.5, 7))
    back[..., 0] -= back[:, :1, 0]
    for pose in back:
        assert reaches(path, pose) < 0.01


def test_a_wave_passes_through_the_raised_arm():
    """The pose that holds before a wave occurs within it too."""
    plan = [("raises an arm", 0.5), ("holds still", 0.5), ("waves", 2.0)]
    held = poses(plan, [0.75])[0]
    assert reaches(poses(plan, np.linspace(1.6, 2.5, 1001)), held) < 0.005


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ([("sits down", 1.0), ("walks left", 1.0)], "'walks left' cannot follow"),
        ([("waves", 1.0), ("falls", 1.0)], "'falls' cannot follow"),
        ([("flies", 1.0)], "unknown action 'flies'"),
        ([("falls", 0.0)], "longer than 0 s"),
    ],
)
def test_an_illegal_plan_is_refused(plan, message):
    """A plan that no figure can follow is refused at once with the reason."""
    with pytest.raises(ValueError, match=message):
        render_clip(0, times=[0.0], plan=plan)


def test_a_plan_sets_the_labels():
    """A planned clip carries the plan's labels at the plan's times, and holds still after them."""
    frames = clip(2, [0.1, 0.9, 1.1, 1.9, 2.5, 30.0], plan=[("falls", 1.0), ("stands up", 1.0)])
    assert [ACTIONS[frame.label] for frame in frames] == ["falls"] * 2 + ["stands up"] * 2 + ["holds still"] * 2


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_figure_stays_in_the_picture(split):
    """Nearly all joints lie inside the picture, whatever the figure does."""
    joints = np.stack([frame.joints for seed in range(10) for frame in clip(seed, np.arange(0, 20, 0.8), split=split)])
    assert ((joints > 0) & (joints < 1)).mean() > 0.98


def test_every_action_has_a_fair_share_of_the_time():
    """No action is rare, and holding still takes about a fifth to a quarter of the time."""
    script_times = np.arange(0, 20, 0.1)
    labels = [
        script.at(float(time))[1]
        for script in (Script(np.random.default_rng(seed), (0.3, 1.4), 0.65) for seed in range(80))
        for time in script_times
    ]
    share = np.bincount(labels, minlength=len(ACTIONS)) / len(labels)
    assert share.min() > 0.04
    assert 0.18 < share[ACTIONS.index("holds still")] < 0.28
