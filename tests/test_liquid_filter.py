"""The liquid filter: a memory over the logits of any classifier, independent of its classes."""

import math

import pytest
import torch
from conftest import DATA, picture, picture_frames

from liquidvision import Backbone, Model, Session
from liquidvision.errors import UsageError, WeightsError
from liquidvision.models.heads.liquid_filter import LiquidFilter, LiquidFilterConfig
from liquidvision.models.zoo import classifier_nodes, imagenet_labels

FEATURES, CLASSES = 12, 5


def make(**changes: object) -> LiquidFilter:
    """Return a filter whose rates differ from frame to frame, as those of a trained filter do."""
    torch.manual_seed(0)
    head = LiquidFilter(LiquidFilterConfig(**{"features": FEATURES, "classes": CLASSES, **changes}))
    torch.nn.init.normal_(head.decide.weight, std=0.5)
    return head.eval()


def stream(head: LiquidFilter, *, batch: int = 3, steps: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    xs = torch.randn(batch, steps, head.input_size, generator=generator) * 2
    return xs, torch.rand(batch, steps, generator=generator) * 0.3


def of_class(label: int, *, steps: int, sureness: float = 6.0, scene: int = 0) -> torch.Tensor:
    """Return embeddings (1, steps, d) of a still scene that is classified as `label`."""
    features = torch.randn(FEATURES, generator=torch.Generator().manual_seed(scene)).abs()
    logits = torch.zeros(CLASSES)
    logits[label] = sureness
    return torch.cat([features, logits]).expand(1, steps, -1)


def test_any_chunking_gives_the_same_numbers():
    """A stream at once, in unequal chunks or frame by frame gives the same logits and state."""
    head = make()
    xs, dts = stream(head)
    whole = head(xs, dts)
    for cuts in ([5, 4, 3], [1] * 12):
        state, logits = None, []
        for x, dt in zip(xs.split(cuts, 1), dts.split(cuts, 1), strict=True):
            out = head(x, dt, state)
            state = out.state
            logits.append(out.logits)
        torch.testing.assert_close(torch.cat(logits, 1), whole.logits, rtol=0, atol=1e-5)
        for key, value in whole.state.items():
            torch.testing.assert_close(state[key], value, rtol=0, atol=1e-5)


def test_padding_is_ignored():
    """Frames beyond a stream's length, whatever their values, change neither its outputs nor its state."""
    head = make()
    xs, dts = stream(head)
    lengths = [12, 7, 3]
    for i, length in enumerate(lengths):
        xs[i, length:] = float("nan")
    padded = head(xs, dts, lengths=lengths)
    for i, length in enumerate(lengths):
        alone = head(xs[i : i + 1, :length], dts[i : i + 1, :length])
        torch.testing.assert_close(padded.logits[i : i + 1, :length], alone.logits, rtol=0, atol=1e-5)
        for part in ("belief", "evidence"):
            torch.testing.assert_close(padded.state[part][i], alone.state[part][0], rtol=0, atol=1e-5)


def test_a_repeated_frame_changes_nothing():
    """A step of Δt = 0 does not change the state."""
    head = make()
    xs, dts = stream(head)
    before = head(xs, dts).state
    after = head(xs[:, :1], torch.zeros(3, 1), before).state
    for key, value in before.items():
        assert torch.equal(after[key], value), key


def test_it_does_not_depend_on_the_order_of_classes():
    """Permuted classes give the same logits, permuted."""
    head = make()
    xs, dts = stream(head)
    order = torch.tensor([3, 0, 4, 1, 2])
    mixed = torch.cat([xs[..., :FEATURES], xs[..., FEATURES:][..., order]], -1)
    torch.testing.assert_close(head(mixed, dts).logits, head(xs, dts).logits[..., order], rtol=0, atol=1e-5)


def test_the_weights_fit_any_number_of_classes_and_features():
    """Weights trained for one classifier load into a filter for another number of classes and features."""
    other = LiquidFilter(LiquidFilterConfig(features=40, classes=1000))
    other.load_state_dict(make().state_dict())


def test_belief_holds_through_an_uncertain_frame():
    """A long, certain scene outweighs one uniform frame, and the first frame decides alone."""
    head = make()
    torch.nn.init.zeros_(head.decide.weight)
    sure, flat = of_class(2, steps=10), of_class(2, steps=1, sureness=0.0)
    out = head(torch.cat([sure, flat], 1), 0.04)
    assert out.logits[0, 0].argmax() == 2
    assert out.logits[0, -1].argmax() == 2
    assert out.frame_logits[0, -1].std() == 0


def test_belief_and_evidence_follow_the_equation():
    """With constant rates, belief and evidence approach their targets exactly as the equation says."""
    head = make()
    torch.nn.init.zeros_(head.decide.weight)
    with torch.no_grad():
        head.decide.bias.copy_(torch.tensor([1.0, -0.5, 0.7]))
    rates, weight = torch.tensor([1.0, -0.5]).exp(), torch.tensor(0.7).exp()
    xs = of_class(1, steps=4)
    told = xs[0, 0, FEATURES:].softmax(-1)
    says = torch.log(told + 1e-4)
    for seconds in (0.04, 0.5):
        kept = torch.exp(-rates * 4 * seconds)
        out = head(xs, seconds)
        belief = told + (1 / CLASSES - told) * kept[0]
        evidence = weight * (says - says.mean()) * (1 - kept[1])
        torch.testing.assert_close(out.state["belief"][0], belief, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(out.state["evidence"][0], evidence, rtol=1e-4, atol=1e-6)
        logits = head.shares[0] * torch.log(belief) + head.shares[1] * evidence
        torch.testing.assert_close(out.logits[0, -1], logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(out.time_constants[0], (1 / rates).expand(4, 2))


def test_evidence_accumulates():
    """Evidence prefers a class that all frames support, while an average prefers one that a single frame is sure of."""
    head = make()
    torch.nn.init.zeros_(head.decide.weight)
    probabilities = torch.tensor([[0.98, 0.01, 0.003, 0.003, 0.004]] + 3 * [[0.001, 0.22, 0.26, 0.26, 0.259]])
    xs = torch.cat([torch.ones(4, FEATURES), torch.log(probabilities)], -1)[None]
    said = []
    for shares in ([1.0, 0.0], [0.0, 1.0]):
        head.shares.data = torch.tensor(shares)
        said.append(int(head(xs, 0.004).logits[0, -1].argmax()))
    assert said == [0, 1]


def test_belief_and_evidence_stay_in_range():
    """For any input and duration, belief is a probability distribution and evidence is finite."""
    head = make()
    xs, _ = stream(head)
    for scale, seconds in ((1e4, 1e-6), (1e4, 1e6), (0.0, 0.04)):
        out = head(xs * scale, seconds)
        belief, evidence = out.state["belief"], out.state["evidence"]
        assert (belief >= 0).all()
        torch.testing.assert_close(belief.sum(-1), torch.ones(3), rtol=0, atol=1e-5)
        assert (evidence.abs() <= math.exp(2) * -math.log(1e-4)).all()
        assert out.logits.isfinite().all()


@pytest.mark.parametrize(
    "sizes",
    [{"classes": 1}, {"features": 0}, {"units": 2**40}],
)
def test_sizes_out_of_range_are_refused(sizes):
    """A size that is too small or too large raises UsageError."""
    with pytest.raises(UsageError):
        make(**sizes)


def test_an_embedding_of_another_width_is_refused():
    """An embedding of another width raises UsageError with the expected shape."""
    with pytest.raises(UsageError, match=r"expected \(batch, steps, 17\)"):
        make()(torch.zeros(1, 2, 3), 0.1)


def filtered_model() -> Model:
    torch.manual_seed(0)
    backbone = Backbone("squeezenet1_1", nodes=classifier_nodes("squeezenet1_1"), weights=None)
    head = LiquidFilter(LiquidFilterConfig(*backbone.channels.values()))
    return Model(backbone, head, [f"class {i}" for i in range(head.config.classes)])


def test_a_model_with_a_filter_loads_unchanged(tmp_path):
    """A saved model with a filter loads with the same labels and predictions."""
    model = filtered_model()
    model.save_pretrained(tmp_path / "m")
    loaded = Model.from_pretrained(tmp_path / "m", device="cpu")
    assert loaded.fingerprint() == model.fingerprint()
    frames = picture_frames(3)
    for one, other in zip(Session(model).push_many(frames), Session(loaded).push_many(frames), strict=True):
        assert one.scores.tolist() == other.scores.tolist()
        assert one.time_constants.shape == (2,)


def test_backbone_for_heads_of_a_classifier():
    """`backbone_for_heads` returns feature maps of the classifier's weights, pooled for a head."""
    model = filtered_model()
    backbone = model.backbone_for_heads()
    assert "classifier" not in " ".join(backbone.nodes)
    (width, *_) = backbone.channels.values()
    image = picture(0)
    assert torch.equal(backbone.embed([image])[:, :width], model.embed([image])[:, :width])


def test_a_filter_has_no_head_configuration():
    """`head_config` of a model with a filter raises UsageError."""
    with pytest.raises(UsageError, match="is a filter"):
        filtered_model().head_config  # noqa: B018


def test_labels_of_torchvision_are_unique():
    """ImageNet has two classes named crane and two named maillot; their labels differ."""
    labels = imagenet_labels("resnet18")
    assert len(set(labels)) == len(labels) == 1000


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "vit_b_16"])
def test_the_classifier_of_every_family_is_found(name):
    """The nodes of each family are pooled features and 1,000 logits."""
    backbone = Backbone(name, nodes=classifier_nodes(name), weights=None)
    assert list(backbone.channels.values())[1] == 1000
    assert backbone.embed([picture(0)]).shape == (1, backbone.dim)


def test_an_unknown_classifier_is_refused():
    """A name that torchvision does not know raises UsageError."""
    with pytest.raises(UsageError, match="no torchvision classification model"):
        Model.from_pretrained("torchvision:resnet5000")


@pytest.mark.parametrize(
    ("name", "file", "cached"),
    [
        ("mobilenet_v2", "mobilenet_v2_imagenet.pth", "mobilenet_v2-7ebf99e0.pth"),
        ("squeezenet1_1", "squeezenet1_1_imagenet.pth", "squeezenet1_1-b8a52dc0.pth"),
    ],
)
def test_a_torchvision_classifier_remembers(name, file, cached, tmp_path, monkeypatch):
    """With weights in torchvision's cache, torchvision:NAME predicts ImageNet labels with memory."""
    weights = DATA / "weights" / file
    if not weights.is_file():
        pytest.skip(f"no {weights}")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / cached).symlink_to(weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = Model.from_pretrained(f"torchvision:{name}", device="cpu")
    assert len(model.labels) == 1000
    frames = picture_frames(4)
    said = Session(model).push_many(frames)
    assert all(0 < p.score <= 1 and p.label in model.labels for p in said)
    assert said[0].label == said[0].frame_label


def test_without_its_weights_a_torchvision_classifier_says_what_to_do(tmp_path, monkeypatch):
    """A failed download raises WeightsError."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(WeightsError, match="could not be downloaded"):
        Model.from_pretrained("torchvision:resnet18")
