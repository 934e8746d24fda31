"""Labels from a torchvision classifier, when somebody has its weights. The only module here that needs torch."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.fx.experimental.optimization import fuse
from torchvision import models as torchvision_models

from local import taxonomy
from local.label import SeenLabel

IMAGENET_CLASSES = 1000
models: Any = torchvision_models  # its stubs hide its names
SMALLEST_CONFIDENCE = 0.5  # below it a class is left out: 1,000 classes share 100


class Classifier:
    """A classifier that answers several threads at once, each picture on one core."""

    def __init__(self, weights: Path) -> None:
        """Load weights under torchvision's names from `MODEL.pth` or `MODEL.safetensors`.

        Raises:
            ValueError: the name is no torchvision classifier, or the weights do not fit it.
        """
        self.name = model_name(weights)
        preset = models.get_model_weights(self.name).DEFAULT
        self._categories: list[str] = [name.title() for name in preset.meta["categories"]]
        self._transform = preset.transforms()
        self._model = _load(self.name, weights)
        self._groups = np.zeros((len(taxonomy.GROUPS), IMAGENET_CLASSES))
        for row, group in enumerate(taxonomy.GROUPS):
            self._groups[row, list(taxonomy.classes(group))] = 1.0
        cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(cores, "classifier", initializer=torch.set_num_threads, initargs=(1,))

    def labels(self, image: Image.Image) -> list[SeenLabel]:
        """The classes and the groups above them, most probable first; confidence is the probability in percent."""
        probabilities = self._pool.submit(self._probabilities, image).result() * 100.0
        seen = [
            SeenLabel(self._categories[number], float(probabilities[number]), self._parents(number))
            for number in np.flatnonzero(probabilities >= SMALLEST_CONFIDENCE).tolist()
        ]
        if len(self._categories) == IMAGENET_CLASSES:
            names = {label.name for label in seen}
            confidences = np.minimum(self._groups @ probabilities, 100.0)
            for (group, (parents, _)), confidence in zip(taxonomy.GROUPS.items(), confidences.tolist(), strict=True):
                if confidence >= SMALLEST_CONFIDENCE and group not in names:
                    seen.append(SeenLabel(group, confidence, parents))
        return sorted(seen, key=lambda label: -label.confidence)

    def _parents(self, number: int) -> tuple[str, ...]:
        if len(self._categories) != IMAGENET_CLASSES:
            return ()
        return tuple(name for name in taxonomy.parents(number) if name != self._categories[number])

    def _probabilities(self, image: Image.Image) -> Any:
        with torch.inference_mode():
            batch = self._transform(image).unsqueeze(0).contiguous(memory_format=torch.channels_last)
            return self._model(batch)[0].double().softmax(0).numpy()


def model_name(weights: Path) -> str:
    """The torchvision classifier that a weight file is named after: `resnet50`, also for `resnet50-0676ba61.pth`.

    Raises:
        ValueError: there is none of that name.
    """
    known = models.list_models(module=models)
    for name in (weights.stem, weights.stem.partition("-")[0]):
        if name in known:
            return name
    raise ValueError(f"{weights.name} is not named after a torchvision classifier (resnet50.pth, for example)")


def _load(name: str, weights: Path) -> Any:
    if weights.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(weights)
    else:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, **options).eval()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{weights.name} does not hold a whole {name}: {str(error).splitlines()[1].strip()}"
        ) from error
    with contextlib.suppress(Exception):  # a model that torch.fx cannot trace runs as it is
        model = fuse(model)  # batch normalisation folded into the convolutions: a quarter faster
    return model.to(memory_format=torch.channels_last)
