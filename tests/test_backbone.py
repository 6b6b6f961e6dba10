"""The backbone: nodes, preprocessing, weights and devices."""

import copy
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import picture
from safetensors.torch import save_file
from torchvision.models import mobilenet_v3_small, resnet18

from liquidvision import Backbone, Preprocessing
from liquidvision.errors import UsageError, WeightsError
from liquidvision.models import zoo
from liquidvision.models.device import choose_device


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("mobilenet_v2", 1280 + 96 * 9),
        ("mobilenet_v3_small", 576 + 48 * 9),
        ("resnet18", 512 + 256 * 9),
        ("efficientnet_b0", 1280 + 112 * 9),
        ("squeezenet1_1", 512),
        ("shufflenet_v2_x0_5", 1024 + 96 * 9),
        ("regnet_y_400mf", 440 + 208 * 9),
        ("mnasnet0_5", 1280 + 48 * 9),
        ("vit_b_32", 768),
    ],
)
def test_every_family_gives_its_pooled_embedding_and_a_grid(name, dim):
    """By default an embedding has the means of the last map, and a 3 x 3 grid of the map at a sixteenth of the size."""
    backbone = Backbone(name, weights=None)
    assert backbone.dim == dim
    assert backbone.embed([picture(0, 300, 200)]).shape == (1, dim)


def test_the_global_part_is_the_input_of_the_classifier():
    """The first columns of an embedding are the input of the model's own classifier."""
    torch.manual_seed(0)
    whole = mobilenet_v3_small().eval()
    backbone = Backbone("mobilenet_v3_small", weights=None, nodes={"features.12": 1})
    backbone.extractor.load_state_dict(whole.state_dict(), strict=False)
    pixels = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = whole.avgpool(whole.features(pixels)).flatten(1)
        torch.testing.assert_close(backbone(pixels), expected)


def test_it_stays_frozen():
    """A backbone has no gradients and stays in eval mode after `train()`."""
    backbone = Backbone("mobilenet_v3_small", weights=None).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone.embed([picture(0)]).requires_grad


def test_a_deep_copy_stays_frozen(model):
    """A copied backbone gives the same embeddings repeatedly and does not update batch statistics."""
    twin = copy.deepcopy(model.backbone)
    images = [picture(0), picture(1)]
    for _ in range(2):
        torch.testing.assert_close(twin.embed(images), model.embed(images))


def test_input_is_moved_to_the_network(monkeypatch):
    """Input prepared on the CPU is moved to the device of the network."""
    monkeypatch.setattr(Backbone, "run_torch", lambda self, pixels: pixels)
    elsewhere = Backbone("mobilenet_v3_small", weights=None).to("meta")
    assert elsewhere(torch.zeros(2, 3, 224, 224)).device.type == "meta"


def test_a_batch_equals_single_pictures(model):
    """Pictures of different sizes embedded in one batch give the embeddings of each alone."""
    images = [picture(0), picture(1, 80, 40), picture(2, 33, 77)]
    alone = torch.cat([model.embed([image]) for image in images])
    torch.testing.assert_close(model.embed(images), alone, rtol=0, atol=1e-5)


def test_read_only_and_flipped_arrays_are_taken(model):
    """A read-only array or one with negative strides gives the embedding of its copy."""
    image = picture(3)
    frozen = image.copy()
    frozen.setflags(write=False)
    torch.testing.assert_close(model.embed([frozen]), model.embed([image]))
    torch.testing.assert_close(model.embed([image[:, ::-1]]), model.embed([image[:, ::-1].copy()]))


def test_preprocessing_is_that_of_the_weights():
    """The preprocessing gives the same input as the transform of torchvision's weights."""
    from torchvision.models import ResNet18_Weights
    from torchvision.transforms.functional import to_pil_image

    transform = ResNet18_Weights.DEFAULT.transforms()
    ours = zoo.weights_preprocessing(transform)
    image = picture(1, 320, 240)
    expected = transform(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert to_pil_image(image).size == (320, 240)
    torch.testing.assert_close(ours(torch.from_numpy(image).permute(2, 0, 1)[None]), expected, rtol=0, atol=0.02)


def test_a_stretched_picture_keeps_its_edges():
    """Without a crop the whole picture, stretched, is the network's input."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :8] = 255
    pixels = Preprocessing(size=(40, 40), shorter=None)(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert pixels.shape == (1, 3, 40, 40)
    assert pixels[0, 0, :, 0].min() > 2
    assert pixels[0, 0, :, -1].max() < -2


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_are_read_from_a_file(tmp_path, ending):
    """A state dict is loaded from a file, also with another number of classes."""
    torch.manual_seed(3)
    whole = resnet18(num_classes=7).eval()
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save(whole.state_dict(), path)
    else:
        save_file(whole.state_dict(), path)
    backbone = Backbone("resnet18", weights=path)
    assert torch.equal(backbone.extractor.state_dict()["layer3.0.conv1.weight"], whole.layer3[0].conv1.weight)


def test_weights_of_another_model_are_refused(tmp_path):
    """A file with another model's weights raises WeightsError, which names the file and the model."""
    path = tmp_path / "other.safetensors"
    save_file(resnet18().state_dict(), path)
    with pytest.raises(WeightsError, match=r"other\.safetensors does not hold the weights of mobilenet_v2") as caught:
        Backbone("mobilenet_v2", weights=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x04\x95"])
def test_a_broken_weights_file_is_refused(tmp_path, content):
    """A file that is empty, text or a pickle of other objects raises WeightsError."""
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as weights") as caught:
        Backbone("resnet18", weights=path)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    """A .pth file that would run code when unpickled raises an error, and the code does not run."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError):
        Backbone("resnet18", weights=path)
    assert not (tmp_path / "ran").exists()


def test_a_failed_download_says_what_to_do(monkeypatch):
    """Weights that cannot be downloaded raise WeightsError, which says what to do."""

    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(zoo.torchvision_models, "get_model", offline)
    with pytest.raises(WeightsError, match=r"resnet18 are not on this machine .* give a file") as caught:
        Backbone("resnet18")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet1800"}, "no torchvision classification model is named 'resnet1800'"),
        ({"name": "resnet18", "nodes": {"layer9": 1}}, "resnet18 has no such node: layer9"),
        ({"name": "vit_b_32", "nodes": {"getitem_5": 3}}, "a grid needs"),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    """An unknown model or node, or a grid on a node that is not a map, raises UsageError."""
    with pytest.raises(UsageError, match=message):
        Backbone(arguments.pop("name"), weights=None, **arguments)


def test_real_imagenet_weights_load_and_know_a_picture(data):
    """Torchvision's MobileNetV2 weights load, and their embeddings distinguish two clips."""
    backbone = Backbone("mobilenet_v2", weights=data / "weights" / "mobilenet_v2_imagenet.pth")
    assert backbone.dim == 2144
    a, b = backbone.embed([picture(0, 224, 224), picture(9, 224, 224)])
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) < 0.99


def test_an_unknown_device_is_refused():
    """An unknown device raises UsageError with the choices."""
    with pytest.raises(UsageError, match="try auto, cpu, cuda, mps or openvino"):
        choose_device("abacus")
