"""Model folders: what is saved is what is loaded, and nothing damaged gets in."""

import json
import os
import re
import threading
import time

import pytest
import torch
from conftest import LABELS, build_model, picture
from safetensors.torch import load_file, save_file

from liquidvision import LiquidHead, LiquidHeadConfig, Model
from liquidvision.errors import ModelError, SinkError, UsageError
from liquidvision.files import write_atomic
from liquidvision.models.folder import bundled_models


def test_a_saved_model_is_the_same_when_loaded(model, model_folder):
    """A folder gives back the same configuration, weights and embeddings, and holds the three files."""
    loaded = Model.from_pretrained(model_folder)
    assert {path.name for path in model_folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert loaded.config() == model.config()
    assert loaded.fingerprint() == model.fingerprint()
    assert torch.equal(loaded.embed([picture(0)]), model.embed([picture(0)]))


def test_half_precision_is_stored_only_where_it_loses_nothing(tmp_path):
    """Weights that fit half precision are stored so; others stay as they are."""
    model = build_model()
    state = model.backbone.extractor.state_dict()
    model.backbone.extractor.load_state_dict(
        {k: v.half().float() if v.is_floating_point() else v for k, v in state.items()}
    )
    model.save_pretrained(tmp_path / "m")
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert stored["backbone.features.1.block.0.0.weight"].dtype == torch.float16
    assert stored["head.project.weight"].dtype == torch.float32
    assert Model.from_pretrained(tmp_path / "m").fingerprint() == model.fingerprint()


def damage(folder, what: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    parsed, tensors = json.loads(config.read_text()), load_file(weights)
    if what == "cut config":
        config.write_text(config.read_text()[:50])
    elif what == "no config":
        config.unlink()
    elif what == "another format":
        config.write_text(json.dumps({"architectures": ["Bert"]}))
    elif what == "later version":
        config.write_text(json.dumps({**parsed, "version": 99}))
    elif what == "no labels":
        parsed.pop("labels")
        config.write_text(json.dumps(parsed))
    elif what == "too many labels":
        config.write_text(json.dumps({**parsed, "labels": [*LABELS, "more"]}))
    elif what == "unknown option":
        config.write_text(json.dumps({**parsed, "head": {**parsed["head"], "attention": True}}))
    elif what == "labels are a number":
        config.write_text(json.dumps({**parsed, "labels": 7}))
    elif what == "backbone is a list":
        config.write_text(json.dumps({**parsed, "backbone": []}))
    elif what == "unknown backbone":
        config.write_text(json.dumps({**parsed, "backbone": {**parsed["backbone"], "name": "nonet"}}))
    elif what == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "no weights":
        weights.unlink()
    elif what == "a tensor missing":
        tensors.pop("head.project.weight")
        save_file(tensors, weights)
    elif what == "a tensor too many":
        save_file({**tensors, "head.extra": torch.zeros(1)}, weights)
    elif what == "a wrong shape":
        save_file({**tensors, "head.project.weight": torch.zeros(2, 2)}, weights)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("cut config", "cannot be read as JSON"),
        ("no config", "is not a model folder: it has no config.json"),
        ("another format", 'expected "format": "liquidvision-model"'),
        ("later version", "has version 99; this liquidvision reads version 1"),
        ("no labels", "lacks 'labels'"),
        ("too many labels", "does not describe a model: the head has 3 classes; there are 4 labels"),
        ("unknown option", "does not describe a model: .*attention"),
        ("labels are a number", "does not describe a model"),
        ("backbone is a list", "does not describe a model"),
        ("unknown backbone", "does not describe a model: no torchvision classification model is named 'nonet'"),
        ("cut weights", "is missing or cut short"),
        ("no weights", "is missing or cut short"),
        ("a tensor missing", "lacks head.project.weight"),
        ("a tensor too many", "holds head.extra, which config.json does not describe"),
        ("a wrong shape", re.escape("head.project.weight has shape (2, 2); config.json expects (8, ")),
    ],
)
def test_a_damaged_folder_gives_one_clear_line(tmp_path, model, what, said):
    """A folder cut short, of another version or of wrong shapes is refused in one line that says what is wrong."""
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    damage(folder, what)
    with pytest.raises(ModelError, match=said) as caught:
        Model.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_what_is_bundled():
    """A name that is no folder and not bundled is refused with the names that are."""
    with pytest.raises(ModelError, match="neither a folder nor bundled") as caught:
        Model.from_pretrained("nonsense")
    assert all(name in str(caught.value) for name in bundled_models())


def test_parts_that_do_not_fit_are_refused(model):
    """A head for another backbone, or of another number of classes, is refused."""
    with pytest.raises(UsageError, match="the head has 3 classes; there are 2 labels"):
        Model(model.backbone, model.head, ["a", "b"])
    other = LiquidHead(LiquidHeadConfig(model.backbone.layouts[:1], 3))
    with pytest.raises(UsageError, match="the head takes embeddings of"):
        Model(model.backbone, other, LABELS)


def test_a_folder_that_cannot_be_written_gives_one_line(tmp_path, model):
    """Saving where a file is in the way gives one line that names the place."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(SinkError, match="cannot write the model folder"):
        model.save_pretrained(tmp_path / "taken")


def test_saving_leaves_no_temporary_file(tmp_path, model):
    """Saving twice over the same folder leaves the three files and no other."""
    for _ in range(2):
        model.save_pretrained(tmp_path / "m")
    assert len(list((tmp_path / "m").iterdir())) == 3


def test_writers_of_one_file_do_not_meet(tmp_path):
    """Many threads that write the same file at once leave one of their contents whole, and nothing beside it."""
    contents = [bytes([number]) * 200_000 for number in range(8)]
    failed = []

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                write_atomic(tmp_path / "file", content)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_is_swept(tmp_path):
    """Writing a file again removes parts of it that are older than a day, and those alone."""
    names = ("a[1].json.0f.part", "a[1].json.1f.part", "a1.json.0f.part", "b.part")
    for name in names:
        (tmp_path / name).write_text("half")
        if name != names[1]:
            os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    write_atomic(tmp_path / "a[1].json", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].json", *names[1:]}
