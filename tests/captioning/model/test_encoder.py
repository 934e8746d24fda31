"""Small networks at small sizes; their heads, of no use to an encoder, say whether the right map was cut out."""

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from ogiri.captioning.model.encoder import Encoder, EncoderHead, build_network, default_weights, load_encoder
from ogiri.task import UserError

NAME, SIZE = "mobilenet_v3_small", 64


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network(NAME)


@pytest.fixture
def state(network: nn.Module) -> dict[str, Tensor]:
    """Weights, and batch statistics that are not those of a new network."""
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.normal_()
    return state


def pictures(count: int, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (count, 3, 4, 4), generator=generator).float()
    return nn.functional.interpolate(coarse, size=size).to(torch.uint8).permute(0, 2, 3, 1)


def normalised(batch: Tensor) -> Tensor:
    return functional.normalize(batch.permute(0, 3, 1, 2) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


# --- the cut ---------------------------------------------------------------------------------------------------------


HEADS: dict[tuple[str, int], tuple[int, int, Callable[[nn.Module, Tensor], Tensor]]] = {
    ("resnet18", 64): (4, 512, lambda network, map: network.fc(map.mean(1))),
    (NAME, 96): (9, 576, lambda network, map: network.classifier(map.mean(1))),
    ("shufflenet_v2_x0_5", 64): (4, 1024, lambda network, map: network.fc(map.mean(1))),
    ("squeezenet1_1", 64): (
        9,
        512,
        lambda network, map: network.classifier(map.transpose(1, 2).unflatten(2, (3, 3))).flatten(1),
    ),
    ("swin_t", 64): (4, 768, lambda network, map: network.head(map.mean(1))),
    ("vit_b_32", 224): (50, 768, lambda network, map: network.heads(map[:, 0])),
}


@pytest.mark.parametrize(("name", "size"), HEADS)
def test_the_map_is_what_the_head_of_the_network_sees(name: str, size: int):
    torch.manual_seed(0)
    cells, channels, head = HEADS[name, size]
    network = build_network(name).eval()
    encoder = Encoder(name, size, network)
    batch = pictures(2, size)
    with torch.no_grad():
        map = encoder(batch)
        assert map.shape == (2, encoder.cells, encoder.channels) == (2, cells, channels)
        torch.testing.assert_close(head(network, map), network(normalised(batch)), rtol=1e-4, atol=1e-5)


def test_cells_are_places_in_reading_order():
    torch.manual_seed(0)
    encoder = Encoder("resnet18", 128)
    grey = torch.full((1, 128, 128, 3), 128, dtype=torch.uint8)
    marked = grey.clone()
    marked[:, 100:, :28] = 255  # below on the left
    with torch.no_grad():
        change = (encoder(marked) - encoder(grey)).abs().mean(2).view(4, 4)
    assert change.argmax().item() == 3 * 4


def test_normalises_as_the_weights_were_trained():
    for name in (NAME, "resnet18"):
        transforms = default_weights(name).transforms()
        encoder = Encoder(name, SIZE)
        assert encoder.mean.flatten().tolist() == pytest.approx(transforms.mean)
        assert encoder.std.flatten().tolist() == pytest.approx(transforms.std)


@pytest.mark.parametrize("name", ["resnet", "ResNet18", "", "fasterrcnn_resnet50_fpn", "../resnet18"])
def test_an_unknown_name_lists_the_known_ones(name: str):
    with pytest.raises(UserError, match=rf"encoder is {re.escape(repr(name))}: torchvision has .*mobilenet_v3_small.*"):
        build_network(name)


def test_a_size_that_the_network_does_not_take_is_named():
    with pytest.raises(UserError, match="alexnet does not take pictures of 32 × 32 pixels"):
        Encoder("alexnet", 32)


def test_a_size_that_leaves_no_map_is_named():
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(UserError, match="no feature map at 64 × 64 pixels: take a larger image_size"):
        Encoder(NAME, SIZE, pooled)


# --- weights ---------------------------------------------------------------------------------------------------------


def save(path: Path, weights: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)


def assert_trunk(encoder: Encoder, weights: dict[str, Tensor]) -> None:
    found = encoder.trunk.state_dict()
    assert len(found) > 200
    for name, value in found.items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


@pytest.mark.parametrize("file", [f"{NAME}.pth", f"torch/hub/{NAME}.pth", f"a/b/{NAME}.safetensors"])
def test_reads_weights_anywhere_below_a_folder(tmp_path: Path, state: dict[str, Tensor], file: str):
    save(tmp_path / "channel" / file, state)
    encoder = load_encoder(NAME, SIZE, [tmp_path / "none", tmp_path / "channel"], allow_download=False)
    assert_trunk(encoder, state)
    assert encoder.pretrained


def test_the_first_folder_that_has_weights_counts(tmp_path: Path, state: dict[str, Tensor]):
    save(tmp_path / "channel" / f"{NAME}.pth", state)
    save(tmp_path / "own" / f"{NAME}.safetensors", {name: value + 1 for name, value in state.items()})
    assert_trunk(load_encoder(NAME, SIZE, [tmp_path / "channel", tmp_path / "own"], allow_download=False), state)


def test_the_head_does_not_matter(tmp_path: Path, state: dict[str, Tensor]):
    others = {name: value for name, value in state.items() if not name.startswith("classifier.")}
    save(tmp_path / f"{NAME}.pth", {**others, "classifier.3.weight": torch.zeros(7, 1024), "note": torch.zeros(1)})
    assert_trunk(load_encoder(NAME, SIZE, [tmp_path], allow_download=False), state)


def test_missing_weights_say_where_to_put_them_and_the_other_ways_out(tmp_path: Path):
    with pytest.raises(UserError) as caught:
        load_encoder(NAME, SIZE, [tmp_path / "pretrained", tmp_path / "own"], allow_download=False)
    message = str(caught.value)
    assert f"{NAME}.safetensors and {NAME}.pth below {tmp_path}/pretrained and {tmp_path}/own" in message
    assert all(way in message for way in ("`pretrained` channel", "allow_download=true", "encoder_weights=none"))


@pytest.mark.parametrize("change", ["another network", "a part", "another width"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_another_network_are_refused(tmp_path: Path, state: dict[str, Tensor], change: str, suffix: str):
    first = "features.0.0.weight"
    if change == "another network":
        state = build_network("squeezenet1_1").state_dict()
    elif change == "a part":
        del state[first]
    else:
        state[first] = torch.zeros(8, 3, 3, 3)
    save(tmp_path / f"{NAME}{suffix}", state)
    with pytest.raises(UserError, match=rf"{NAME}{suffix} does not hold the weights of this network: {first}"):
        load_encoder(NAME, SIZE, [tmp_path], allow_download=False)


@pytest.mark.parametrize("content", [{"state_dict": {}, "epoch": 3}, [torch.zeros(1)], torch.zeros(1)])
def test_a_file_without_weights_by_name_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / f"{NAME}.pth")
    with pytest.raises(UserError, match=rf"{NAME}\.pth does not hold tensors by name"):
        load_encoder(NAME, SIZE, [tmp_path], allow_download=False)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str):
    (tmp_path / f"{NAME}{suffix}").write_bytes(b"no weights")
    with pytest.raises(UserError, match=rf"{NAME}{suffix} cannot be read as weights"):
        load_encoder(NAME, SIZE, [tmp_path], allow_download=False)


class Touch:
    """Unpickled without care, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_code_in_a_pth_file_is_refused_and_not_run(tmp_path: Path, form: str):
    proof, file = tmp_path / "proof", tmp_path / f"{NAME}.pth"
    content = {"features.0.0.weight": Touch(proof)}
    torch.save(content, file) if form == "torch" else file.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=rf"{NAME}\.pth cannot be read as weights"):
        load_encoder(NAME, SIZE, [tmp_path], allow_download=False)
    assert not proof.exists()
    pickle.loads(pickle.dumps(content))  # and it would have been run
    assert proof.exists()


# --- batch statistics ------------------------------------------------------------------------------------------------


def test_settled_statistics_are_those_of_the_pictures(network: nn.Module):
    encoder, batches, seen = Encoder(NAME, SIZE, network), pictures(24).split(8), {}

    def remember(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(layer, []).append(inputs[0].transpose(0, 1).flatten(1))

    hooks = [layer.register_forward_pre_hook(remember) for layer in batch_norms(encoder)]
    encoder.settle(batches)
    assert [len(inputs) for inputs in seen.values()] == [3] * len(hooks)
    for layer, inputs in seen.items():
        means, variances = ([each(values, dim=1) for values in inputs] for each in (torch.mean, torch.var))
        torch.testing.assert_close(layer.running_mean, torch.stack(means).mean(0), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(layer.running_var, torch.stack(variances).mean(0), rtol=1e-3, atol=1e-4)


def test_once_settled_evaluation_sees_what_training_saw(network: nn.Module):
    encoder, batch = Encoder(NAME, SIZE, network), pictures(16)

    def spread(map: Tensor) -> float:
        return (map.std(0) / map.std()).mean().item()

    with torch.no_grad():
        trained = encoder.train()(batch)
        encoder.settle([batch])
        settled = encoder(batch)
    assert not any(layer.training for layer in batch_norms(encoder))
    assert nn.functional.cosine_similarity(trained.flatten(), settled.flatten(), dim=0) > 0.95
    assert spread(settled) > 0.8 * spread(trained)


def test_training_goes_on_from_settled_statistics_as_before(network: nn.Module):
    encoder = Encoder(NAME, SIZE, network)
    before = [layer.momentum for layer in batch_norms(encoder)]
    encoder.settle([pictures(8)])
    assert [layer.momentum for layer in batch_norms(encoder)] == before
    settled = [layer.running_mean.clone() for layer in batch_norms(encoder)]
    with torch.no_grad():
        encoder.train()(pictures(8).flip(1).clamp(max=99))
    assert all((layer.running_mean != mean).any() for layer, mean in zip(batch_norms(encoder), settled, strict=True))


def test_pretrained_statistics_never_move(tmp_path: Path, state: dict[str, Tensor]):
    save(tmp_path / f"{NAME}.pth", state)
    encoder = load_encoder(NAME, SIZE, [tmp_path], allow_download=False)
    with torch.no_grad():
        encoder.train()(pictures(8))
    encoder.settle([pictures(8)])
    assert_trunk(encoder, state)
    assert encoder.training is True
    dropped = [layer.training for layer in encoder.modules() if not isinstance(layer, nn.BatchNorm2d)]
    assert all(dropped)


def test_a_network_without_batch_statistics_needs_no_pictures():
    def asked() -> Iterator[Tensor]:
        raise AssertionError
        yield

    Encoder("squeezenet1_1", SIZE).settle(asked())


# --- training the last stages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stages", "last"),
    [
        ("resnet18", 6, "layer4"),
        ("mobilenet_v2", 19, "features.18"),
        ("convnext_tiny", 8, "features.7"),
        ("densenet121", 10, "features.norm5"),
        ("swin_t", 9, "norm"),
        ("vit_b_32", 16, "encoder.ln"),
    ],
)
def test_stages_are_what_people_call_them(name: str, stages: int, last: str):
    found = Encoder(name, 224 if name.startswith("vit") else SIZE, build_network(name)).stages()
    assert found[-1] == last
    assert len(found) == stages


def test_only_the_last_stages_learn():
    encoder = Encoder("resnet18", SIZE, build_network("resnet18"), pretrained=True)
    assert encoder.train_last(2) == ["layer3", "layer4"]
    learning = {name.removeprefix("trunk.") for name, p in encoder.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in learning} == {"layer3", "layer4"}
    encoder(pictures(2)).sum().backward()
    reached = {name.removeprefix("trunk.") for name, p in encoder.named_parameters() if p.grad is not None}
    assert reached == learning


def test_more_stages_than_there_are_are_refused():
    encoder = Encoder("resnet18", SIZE, build_network("resnet18"), pretrained=True)
    with pytest.raises(UserError, match=r"finetune_stages is 7: the encoder resnet18 has 6: conv1, bn1, layer1, .*"):
        encoder.train_last(7)


@pytest.mark.parametrize(
    ("name", "size", "stages", "shape"),
    [
        ("resnet18", SIZE, 1, (256, 4, 4)),
        ("mobilenet_v2", SIZE, 3, (160, 2, 2)),
        ("convnext_tiny", SIZE, 2, (4, 4, 384)),
        ("densenet121", SIZE, 1, (1024, 2, 2)),
        ("efficientnet_b0", SIZE, 2, (192, 2, 2)),
        ("swin_t", SIZE, 2, (2, 2, 768)),
        ("vit_b_16", 224, 2, (197, 768)),
    ],
)
def test_a_trunk_is_cut_before_the_stages_that_learn(name: str, size: int, stages: int, shape: tuple[int, ...]):
    encoder = Encoder(name, size, build_network(name), pretrained=True)
    encoder.train_last(stages)
    assert encoder.cut is not None
    assert encoder.cut.shape == shape
    head, some = EncoderHead(encoder, encoder.cut), pictures(2, size)
    with torch.no_grad():
        kept = head(some)
        assert kept.shape == (2, head.cells, head.channels)
        assert torch.equal(encoder.finish(kept), encoder(some))
    encoder.finish(kept).sum().backward()
    learning = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert {name for name, p in encoder.named_parameters() if p.grad is not None} == learning


def test_weights_that_learn_after_the_cut_are_the_encoders_own():
    encoder = Encoder("resnet18", SIZE, build_network("resnet18"), pretrained=True)
    encoder.train_last(1)
    assert encoder.cut is not None
    kept = EncoderHead(encoder, encoder.cut)(pictures(2))
    before = encoder.finish(kept)
    with torch.no_grad():
        next(p for p in encoder.parameters() if p.requires_grad).mul_(2)
    after = encoder.finish(kept)
    assert not torch.equal(before, after)
    assert torch.equal(after, encoder(pictures(2)))
    assert torch.equal(EncoderHead(encoder, encoder.cut)(pictures(2)), kept)
