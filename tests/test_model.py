"""Model folders: saving, loading, and damaged folders."""

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


def test_a_saved_model_loads_unchanged(model, model_folder):
    """A saved folder has three files, and loads with the same configuration, weights and embeddings."""
    loaded = Model.from_pretrained(model_folder)
    assert {path.name for path in model_folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert loaded.config() == model.config()
    assert loaded.fingerprint() == model.fingerprint()
    assert torch.equal(loaded.embed([picture(0)]), model.embed([picture(0)]))


def test_half_precision_is_stored_only_if_lossless(tmp_path):
    """Weights that half precision represents exactly are stored in it; others keep their type."""
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


def damage(folder, kind: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    parsed, tensors = json.loads(config.read_text()), load_file(weights)
    if kind == "cut config":
        config.write_text(config.read_text()[:50])
    elif kind == "no config":
        config.unlink()
    elif kind == "another format":
        config.write_text(json.dumps({"architectures": ["Bert"]}))
    elif kind == "later version":
        config.write_text(json.dumps({**parsed, "version": 99}))
    elif kind == "no labels":
        parsed.pop("labels")
        config.write_text(json.dumps(parsed))
    elif kind == "too many labels":
        config.write_text(json.dumps({**parsed, "labels": [*LABELS, "more"]}))
    elif kind == "unknown option":
        config.write_text(json.dumps({**parsed, "head": {**parsed["head"], "attention": True}}))
    elif kind == "labels are a number":
        config.write_text(json.dumps({**parsed, "labels": 7}))
    elif kind == "backbone is a list":
        config.write_text(json.dumps({**parsed, "backbone": []}))
    elif kind == "unknown backbone":
        config.write_text(json.dumps({**parsed, "backbone": {**parsed["backbone"], "name": "nonet"}}))
    elif kind == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "no weights":
        weights.unlink()
    elif kind == "a tensor missing":
        tensors.pop("head.project.weight")
        save_file(tensors, weights)
    elif kind == "a tensor too many":
        save_file({**tensors, "head.extra": torch.zeros(1)}, weights)
    elif kind == "a wrong shape":
        save_file({**tensors, "head.project.weight": torch.zeros(2, 2)}, weights)


@pytest.mark.parametrize(
    ("damage_kind", "message"),
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
def test_a_damaged_folder_is_refused(tmp_path, model, damage_kind, message):
    """A folder that is truncated, of another version or with wrong shapes raises ModelError of one line."""
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    damage(folder, damage_kind)
    with pytest.raises(ModelError, match=message) as caught:
        Model.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_bundled_models():
    """A name that is neither a folder nor bundled raises ModelError with the bundled names."""
    with pytest.raises(ModelError, match="neither a folder nor bundled") as caught:
        Model.from_pretrained("nonsense")
    assert all(name in str(caught.value) for name in bundled_models())


def test_a_head_that_does_not_fit_is_refused(model):
    """A head for another embedding width or number of classes raises UsageError."""
    with pytest.raises(UsageError, match="the head has 3 classes; there are 2 labels"):
        Model(model.backbone, model.head, ["a", "b"])
    other = LiquidHead(LiquidHeadConfig(model.backbone.layouts[:1], 3))
    with pytest.raises(UsageError, match="the head takes embeddings of"):
        Model(model.backbone, other, LABELS)


def test_a_folder_that_cannot_be_written(tmp_path, model):
    """Saving to a path that is a file raises SinkError of one line."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(SinkError, match="cannot write the model folder"):
        model.save_pretrained(tmp_path / "taken")


def test_saving_leaves_no_temporary_file(tmp_path, model):
    """Saving twice to the same folder leaves the three files only."""
    for _ in range(2):
        model.save_pretrained(tmp_path / "m")
    assert len(list((tmp_path / "m").iterdir())) == 3


def test_concurrent_writers_leave_one_complete_file(tmp_path):
    """Threads that write the same file at once leave one complete content and no temporary file."""
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


def test_abandoned_temporary_files_are_removed(tmp_path):
    """Writing a file removes its temporary files that are older than a day, and no others."""
    names = ("a[1].json.0f.part", "a[1].json.1f.part", "a1.json.0f.part", "b.part")
    for name in names:
        (tmp_path / name).write_text("half")
        if name != names[1]:
            os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    write_atomic(tmp_path / "a[1].json", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].json", *names[1:]}
