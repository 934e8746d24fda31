"""Any torchvision classification network as an encoder: picture → feature map.

The map before the global pooling is kept, not the pooled vector: pooling it costs about two BLEU-4
(Xu et al. 2015, arXiv:1502.03044, and the project's own measurements).
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, fx, nn
from torchvision import models
from torchvision.models import _api as catalogue
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from ogiri.captioning.model.encoder_cut import Cut, find_cut
from ogiri.task import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SUFFIXES = (".safetensors", ".pth")
SEVERAL_STAGES = 4  # that a depth of names has, if it is the one at which people speak of a network's stages
NEARLY_ALL = 0.9  # of the weights, which no stage has: of a ViT, all blocks together
PROJECTION = "projection.weight"
HEADS = ("fc.", "classifier.", "head.", "heads.")  # what torchvision calls the layers behind the map

log = logging.getLogger(__name__)


class Encoder(nn.Module):
    """A torchvision trunk that ends at its last spatial map.

    Attributes:
        size: pixels of a picture's side.
        cells: positions of the map (49 for 7 × 7).
        channels: width of the map.
        projection: the last layer where the map is made narrower than the trunk's, else None; see `narrow`.
        cut: where the stages that learn begin, once `train_last` has found it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, size: int, network: nn.Module | None = None, pretrained: bool = False) -> None:
        """Cut `network` (by default a new one with random weights) at its last map; `pretrained`: it has learned.

        Raises:
            UserError: torchvision has no such classification network, or it does not take this size.
        """
        super().__init__()
        self.name, self.size, self.pretrained = name, size, pretrained
        trunk, self._channels_last = _cut(name, network or build_network(name), size)
        self.trunk = trunk
        self.projection: nn.Linear | None = None
        self.cut: Cut | None = None
        mean, std = _normalisation(name)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        with torch.no_grad():
            self.eval()
            shape = self(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape
        self.cells, self.channels = int(shape[1]), int(shape[2])

    def forward(self, picture: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            picture: (batch, size, size, 3) uint8 RGB.

        Returns:
            (batch, cells, channels) float map.
        """
        return self._map(self.trunk(self.normalised(picture))["map"])

    def finish(self, kept: Tensor) -> Tensor:
        """Go on from what is kept of pictures: as `forward` from pixels, or as `EncoderHead` gives it where it is cut.

        Args:
            kept: (batch, size, size, 3) uint8 RGB, or (batch, rows, columns) float.

        Returns:
            (batch, cells, channels) float map.
        """
        if self.cut is None:
            made: Tensor = self(kept)
            return made
        return self._map(self.cut.tail(kept.float())["map"])

    def normalised(self, picture: Tensor) -> Tensor:
        """(batch, size, size, 3) uint8 RGB → (batch, 3, size, size) float as the trunk takes it."""
        x = picture.permute(0, 3, 1, 2).float().div(255.0)
        return (x - self.mean) / self.std

    def _map(self, feature: Tensor) -> Tensor:
        """The trunk's map → (batch, cells, channels), projected."""
        cells = self._by_cells(feature)
        if self.projection is None:
            return cells
        projected: Tensor = self.projection(cells.to(self.projection.weight.dtype))
        return projected

    def narrow(self, channels: int) -> nn.Linear:
        """Let the map have fewer channels from now on, each a weighted sum of the trunk's.

        Returns:
            The layer that computes them, to be given its weights.
        """
        self.projection = nn.Linear(self.channels, channels).to(self.mean.device)
        self.channels = channels
        return self.projection

    def follow(self, weights: Mapping[str, Tensor]) -> None:
        """Be as wide as the encoder was that these weights are of, so that they can be loaded."""
        if PROJECTION in weights:
            self.narrow(len(weights[PROJECTION]))

    def train(self, mode: bool = True) -> Encoder:
        """As `nn.Module.train`, but batch statistics that came with pretrained weights are kept."""
        super().train(mode)
        if self.pretrained:
            for layer in self._batch_norms():
                layer.eval()
        return self

    @torch.no_grad()
    def settle(self, batches: Iterable[Tensor]) -> None:
        """Take the batch statistics anew as the plain average over some batches of pictures.

        The running ones lag behind weights that still move, and in a short training they never arrive: the encoder then
        sees the same in every picture as soon as it is evaluated (Wu and Johnson 2021, arXiv:2105.07576, section 3).
        """
        layers = self._batch_norms()
        if self.pretrained or not layers:
            return
        momenta = [layer.momentum for layer in layers]
        super().eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative average
            layer.train()
        for pictures in batches:
            self(pictures)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        self.eval()

    def train_last(self, stages: int) -> list[str]:
        """Freeze all but the last stages of the trunk, such as `layer4` of a ResNet, and cut it before them.

        Returns:
            The names of those that go on learning.

        Raises:
            UserError: the trunk has fewer.
        """
        names = self.stages()
        if stages > len(names):
            known = ", ".join(names)
            raise UserError(f"finetune_stages is {stages}: the encoder {self.name} has {len(names)}: {known}")
        kept, depth = names[len(names) - stages :], self._depth()
        for name, parameter in self.trunk.named_parameters():
            parameter.requires_grad_(_stage(name, depth) in kept)
        self.eval()
        example = torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8, device=self.mean.device)
        self.cut = find_cut(self.trunk, kept, self.normalised(example))
        return kept

    def stages(self) -> list[str]:
        """Names of the trunk's parts in order, such as `layer1` to `layer4` of a ResNet."""
        depth = self._depth()
        return list(dict.fromkeys(_stage(name, depth) for name, _ in self.trunk.named_parameters()))

    def _by_cells(self, feature: Tensor) -> Tensor:
        """A map as a network has it → (batch, cells, channels)."""
        if feature.dim() == 3:
            return feature
        if self._channels_last:
            return feature.flatten(1, 2)
        return feature.flatten(2).transpose(1, 2)

    def _depth(self) -> int:
        """The shallowest at which the names of weights have several parts, none of which is nearly all of them."""
        sizes = {name: parameter.numel() for name, parameter in self.trunk.named_parameters()}
        deepest = max(max(name.count(".") for name in sizes), 1)
        for depth in range(1, deepest):
            parts: Counter[str] = Counter()
            for name, size in sizes.items():
                parts[_stage(name, depth)] += size
            if len(parts) >= SEVERAL_STAGES and max(parts.values()) < NEARLY_ALL * parts.total():
                return depth
        return deepest

    def _batch_norms(self) -> list[nn.modules.batchnorm._BatchNorm]:
        return [layer for layer in self.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


class EncoderHead(nn.Module):
    """The part of an encoder that does not learn, as an encoder whose map is what is kept of a picture.

    Attributes:
        name, size, cells, channels: as of an `Encoder`.
    """

    def __init__(self, encoder: Encoder, cut: Cut) -> None:
        """Args: cut: of this encoder."""
        super().__init__()
        self.encoder, self._cut = encoder, cut
        self.name, self.size = f"{encoder.name} up to {cut.after}", encoder.size
        self.cells, self.channels = cut.shape[0], math.prod(cut.shape[1:])

    def forward(self, picture: Tensor) -> Tensor:
        """(batch, size, size, 3) uint8 RGB → (batch, cells, channels) float."""
        return self._cut.head(self.encoder.normalised(picture))


def _stage(name: str, depth: int) -> str:
    """The part of a network that a parameter is of; one of the network itself is a part of its own."""
    modules = name.split(".")[:-1] or [name]
    return ".".join(modules[:depth])


def build_network(name: str) -> nn.Module:
    """A torchvision classification network with random weights.

    Raises:
        UserError: there is none of this name.
    """
    known = catalogue.list_models(module=models)
    if name not in known:
        raise UserError(f"encoder is {name!r}: torchvision has {', '.join(known)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some constructors speak of their own defaults
        network: nn.Module = catalogue.get_model(name, weights=None)
    return network


def default_weights(name: str) -> Any:
    """Torchvision's own weights of a network: a member of its `Weights` enumeration."""
    weights: Any = catalogue.get_model_weights(name)
    return weights.DEFAULT


def find_weights(name: str, folders: Iterable[Path]) -> Path | None:
    """The first `NAME.safetensors` or `NAME.pth` anywhere below the folders."""
    for folder in folders:
        for suffix in SUFFIXES:
            for path in sorted(folder.rglob(name + suffix)):
                return path
    return None


def load_encoder(name: str, size: int, folders: Iterable[Path], allow_download: bool) -> Encoder:
    """An encoder with pretrained weights.

    Args:
        name: torchvision's name of the network.
        size: pixels of a picture's side.
        folders: where weights may lie, in this order.
        allow_download: fetch torchvision's own weights when none lie there.

    Raises:
        UserError: no weights, or weights of another network.
    """
    folders = list(folders)
    network = build_network(name)
    path = find_weights(name, folders)
    if path is not None:
        _load_weights(network, path)
        log.info("encoder weights from %s", path)
    elif allow_download:
        log.info("downloading torchvision's weights of %s, as allow_download asks", name)
        network.load_state_dict(default_weights(name).get_state_dict(progress=False))
    else:
        looked = " and ".join(str(folder) for folder in folders) or "no folder"
        raise UserError(
            f"no weights for the encoder {name}: looked for {name}.safetensors and {name}.pth below {looked}. "
            "Put the file into the `pretrained` channel, or set allow_download=true, or train the encoder "
            "from scratch with encoder_weights=none"
        )
    return Encoder(name, size, network, pretrained=True)


def _load_weights(network: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            weights = safetensors.torch.load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} cannot be read as weights: {error}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} does not hold tensors by name: save the network's state_dict()")
    own = network.state_dict()
    wrong = [name for name, value in weights.items() if name in own and own[name].shape != value.shape]
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    trunk = [name for name in missing + wrong if not name.startswith(HEADS)]
    if trunk:
        raise UserError(f"{path} does not hold the weights of this network: {trunk[0]} is missing or of another shape")
    network.load_state_dict({name: value.float() for name, value in weights.items() if name not in wrong}, strict=False)


def _cut(name: str, network: nn.Module, size: int) -> tuple[fx.GraphModule, bool]:
    """The network up to its last spatial map, and whether that map has its channels last."""
    network.eval()
    try:
        shapes = _shapes(network, size)
    except Exception as error:
        raise UserError(f"encoder {name} does not take pictures of {size} × {size} pixels: {error}") from error
    width = next((m.in_features for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)), 0)
    maps = [node for node, shape in shapes.items() if not node.startswith(HEADS) and _is_map(shape, width)]
    if not maps:
        raise UserError(f"encoder {name} has no feature map at {size} × {size} pixels: take a larger image_size")
    shape = shapes[maps[-1]]
    trunk = create_feature_extractor(network, {maps[-1]: "map"}, suppress_diff_warning=True)
    return trunk, len(shape) == 4 and shape[-1] == width


def _shapes(network: nn.Module, size: int) -> dict[str, tuple[int, ...]]:
    """Shape of what each node of the network gives for one picture, in the order of computation."""
    train, nodes = get_graph_node_names(network, suppress_diff_warning=True)
    whole = create_feature_extractor(
        network, train_return_nodes=train[-1:], eval_return_nodes=nodes[1:], suppress_diff_warning=True
    )
    with torch.no_grad():
        outputs = whole.eval()(torch.zeros(1, 3, size, size))
    return {node: tuple(value.shape) for node, value in outputs.items() if isinstance(value, Tensor)}


def _is_map(shape: tuple[int, ...], width: int) -> bool:
    if len(shape) == 3:
        return shape[1] > 1 and shape[2] == width  # the tokens of a vision transformer
    if len(shape) != 4:
        return False
    height, across = (shape[1], shape[2]) if shape[-1] == width else (shape[2], shape[3])
    return height > 1 and across > 1


def _normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    transforms = default_weights(name).transforms()
    return tuple(getattr(transforms, "mean", IMAGENET_MEAN)), tuple(getattr(transforms, "std", IMAGENET_STD))
