"""Checkpoints: written and read again bit for bit, or refused by their name."""

import pytest
import torch
from checkpoints import CLASSES, Payload, images, segmenter

import loopda
from loopda.errors import DataError, DeviceError
from loopda.models.checkpoint import content_digest, load_checkpoint, load_segmenter, save_checkpoint, save_segmenter
from loopda.models.segmenter import estimate_statistics
from loopda.weights.safetensors_files import write_safetensors


@pytest.fixture(autouse=True)
def the_same_random_numbers_in_every_run():
    torch.manual_seed(0)


@pytest.mark.parametrize("bn_pretrain", [False, True])
def test_a_segmenter_is_loaded_bit_for_bit_as_it_was_saved(tmp_path, bn_pretrain):
    model = segmenter(bn_pretrain, normalisation="caffe-rgb", stride_in="conv2").train()
    model.statistics = {
        "day": estimate_statistics(model, [images()]),
        "night": estimate_statistics(model, [images() / 9]),
    }
    save_segmenter(model, tmp_path / "model.pt", stage="warmup", seed=3)
    loaded = load_segmenter(tmp_path / "model.pt")
    assert loaded.section == model.section
    assert loaded.classes == CLASSES
    assert loaded.bn_pretrain == bn_pretrain
    mine, theirs = model.network.state_dict(), loaded.network.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert list(loaded.statistics) == ["day", "night"]
    for domain, statistics in model.statistics.items():
        assert list(statistics) == list(loaded.statistics[domain])
        for name, value in statistics.items():
            assert torch.equal(value, loaded.statistics[domain][name])
    batch = images()
    for domain in ("day", "night"):
        model.use_statistics(domain)
        loaded.use_statistics(domain)
        assert torch.equal(model(batch).logits, loaded(batch).logits)


def test_a_checkpoint_says_where_it_comes_from(tmp_path):
    save_segmenter(segmenter(), tmp_path / "model.pt", stage="pretrain", seed=3, config={"steps": 5})
    provenance = load_checkpoint(tmp_path / "model.pt")["provenance"]
    assert provenance == {"stage": "pretrain", "seed": 3, "config": {"steps": 5}}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.fault(27, "the file and the tensor are named")
def test_weights_that_are_not_finite_are_refused_by_their_name(tmp_path, number):
    model = segmenter()
    with torch.no_grad():
        model.network.layer3[0].conv2.weight[1, 2, 0, 0] = number
    save_segmenter(model, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt: model: layer3\.0\.conv2\.weight .*not finite"):
        load_segmenter(tmp_path / "model.pt")


def test_statistics_that_are_not_finite_are_refused(tmp_path):
    model = segmenter().train()
    model.statistics = {"night": estimate_statistics(model, [images()])}
    model.statistics["night"]["layer0.1.running_var"][0] = float("nan")
    save_segmenter(model, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt"):
        load_segmenter(tmp_path / "model.pt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused_by_its_name(tmp_path, share):
    path = tmp_path / "model.pt"
    save_segmenter(segmenter(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"model\.pt: cannot be read as weights"):
        load_segmenter(path)


def test_a_missing_checkpoint_is_refused_by_its_name(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pt: no such weights file"):
        load_segmenter(tmp_path / "absent.pt")


@pytest.mark.parametrize("zipped", [False, True])
def test_a_checkpoint_that_carries_code_is_refused_and_the_code_is_not_run(tmp_path, zipped):
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    content = {"format": 1, "model": Payload(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"model\.pt"):
        load_segmenter(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the payload itself is a working one
    assert trace.exists()


@pytest.mark.fault(43, "another format is refused, with what to do")
@pytest.mark.parametrize("content", [{"format": 2}, {"state_dict": {}}, [1, 2], torch.zeros(3)])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"other\.pt: not a loopda checkpoint"):
        load_segmenter(tmp_path / "other.pt")


def foreign(kind):
    """A file that somebody may give in the place of a model.pt."""
    state = segmenter().network.state_dict()
    trunk = {name: value for name, value in state.items() if name.startswith("layer")}
    torchvision = {name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1."): v for name, v in trunk.items()}
    return {"student": state, "wrapped": {"state_dict": {f"module.{n}": v for n, v in state.items()}},
            "backbone": torchvision, "unknown": {"conv1.weight": torch.zeros(1)}}[kind]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("student", "a model of others (official LoopDA); convert it: python -m loopda.stages.convert --weights "),
        ("wrapped", "a model of others (official LoopDA); convert it: python -m loopda.stages.convert --weights "),
        ("backbone", "a backbone without heads (torchvision's ResNet)"),
        ("unknown", "python -m loopda.stages.convert --weights "),
    ],
)
def test_a_model_of_others_is_refused_with_the_command_that_converts_it(tmp_path, kind, expected):
    path = tmp_path / "my student.pth"
    torch.save(foreign(kind), path)
    for read in (load_segmenter, loopda.load):
        with pytest.raises(DataError) as raised:
            read(path)
        assert expected in str(raised.value)
        if expected.endswith("--weights "):
            assert f"--weights '{path}' --model model.pt" in str(raised.value)  # can be pasted into a shell


def test_a_safetensors_file_is_refused_with_the_command_that_converts_it(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes((64).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}'.ljust(64) + bytes(8))
    with pytest.raises(DataError, match=r"a safetensors file: python -m loopda\.stages\.convert"):
        load_segmenter(path)
    pytest.importorskip("safetensors")
    save_segmenter(segmenter(), tmp_path / "model.pt")
    write_safetensors(load_checkpoint(tmp_path / "model.pt"), path)
    with pytest.raises(DataError, match=r"a safetensors file: python -m loopda\.stages\.convert"):
        load_segmenter(path)


@pytest.mark.parametrize("damage", ["network", "model", "another shape", "one tensor"])
def test_a_checkpoint_with_a_part_missing_or_of_another_shape_is_refused(tmp_path, damage):
    path = tmp_path / "model.pt"
    save_segmenter(segmenter(), path)
    checkpoint = torch.load(path, weights_only=True)
    if damage == "another shape":
        checkpoint["network"]["width"] = 8
    elif damage == "one tensor":
        del checkpoint["model"]["final2.1.bias"]
    else:
        del checkpoint[damage]
    torch.save(checkpoint, path)
    with pytest.raises(DataError, match=r"model\.pt"):
        load_segmenter(path)


# what a disk does to a file


@pytest.mark.fault(15, "a flipped bit anywhere in the weights is found, and the file is named")
def test_a_flipped_bit_in_a_checkpoint_is_found_although_torch_would_load_it(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint({"model": {"weight": torch.zeros(5000)}}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["model"]["weight"].any()
    with pytest.raises(DataError, match=r"model\.pt: its content does not match the SHA-256 in it"):
        load_checkpoint(path)


def test_equal_checkpoints_make_equal_files_and_others_another_digest(tmp_path):
    content = {"model": {"weight": torch.arange(6.0)}, "classes": ["a", "b"], "seed": 1}
    for name in ("one.pt", "other.pt"):
        save_checkpoint(content, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()
    assert load_checkpoint(tmp_path / "one.pt").keys() == content.keys()
    changes = [{"seed": 2}, {"classes": ["ab"]}, {"model": {"weight": torch.arange(6.0).view(2, 3)}}]
    changes += [{"model": {"weight": torch.arange(6.0).double()}}, {"model": {"weights": torch.arange(6.0)}}]
    assert len({content_digest(content | change) for change in [{}, *changes]}) == 1 + len(changes)


@pytest.mark.fault(43, "a file of an earlier version, which has no digest, is read")
def test_a_checkpoint_without_a_digest_is_read(tmp_path):
    torch.save({"format": 1, "model": {}}, tmp_path / "model.pt")
    assert load_checkpoint(tmp_path / "model.pt") == {"format": 1, "model": {}}


@pytest.mark.fault(11, "exit code 4, one message, and no file")
def test_a_disk_that_is_full_of_something_else_gets_no_part_of_a_model(tmp_path, tiny_disk):
    def fill() -> str:
        try:
            save_checkpoint({"model": {"weight": torch.ones(100_000)}}, tmp_path / "model.pt")  # 400 kB
        except DeviceError as error:
            left = [path.name for path in tmp_path.iterdir()]
            return str(error) if not left else f"it left {left}"
        return "the disk was not full"

    assert tiny_disk(tmp_path, fill).startswith(f"{tmp_path}/model.pt: cannot be written (")
