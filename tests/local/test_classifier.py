from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import models

from local import taxonomy
from local.aws import embedded_aws
from local.classifier import Classifier, model_name
from local.rekognition import rekognition_server


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights, in half precision, whose classifier always says: golden retriever."""
    torch.manual_seed(0)
    model = models.get_model("mobilenet_v3_small", weights=None)
    model.classifier[3].weight.data.zero_()
    model.classifier[3].bias.data.zero_()
    model.classifier[3].bias.data[207] = 12.0
    path = tmp_path_factory.mktemp("pretrained") / "deep" / "mobilenet_v3_small.pth"
    path.parent.mkdir()
    torch.save({name: value.half() for name, value in model.state_dict().items()}, path)
    return path


def test_labels_are_classes_and_the_groups_above_them(weights: Path):
    labels = Classifier(weights).labels(Image.new("RGB", (200, 150)))
    by_name = {label.name: label for label in labels}
    assert set(by_name) == {"Golden Retriever", "Retriever", "Dog", "Pet", "Mammal", "Animal"}
    assert by_name["Golden Retriever"].parents == ("Retriever", "Dog", "Pet", "Mammal", "Animal")
    assert by_name["Golden Retriever"].confidence > 99
    assert by_name["Animal"].confidence >= by_name["Dog"].confidence >= by_name["Golden Retriever"].confidence


def test_the_server_finds_weights_anywhere_below_the_folder(weights: Path):
    with (
        embedded_aws(bucket=None, table=None) as aws,
        rekognition_server(aws.process_environment(), pretrained=weights.parent.parent) as server,
    ):
        assert "labels come from mobilenet_v3_small with the weights of mobilenet_v3_small.pth" in server.notices


def test_the_server_says_why_weights_cannot_be_used(tmp_path: Path):
    torch.save({"features.0.0.weight": torch.zeros(1)}, tmp_path / "mobilenet_v3_small.pth")
    with rekognition_server(pretrained=tmp_path) as server:
        assert server.notices[0].startswith("mobilenet_v3_small.pth does not hold a whole mobilenet_v3_small: ")
        assert server.notices[0].endswith("labels are measured colours and shapes")


@pytest.mark.parametrize("name", ["resnet50.pth", "resnet50-0676ba61.pth", "resnet50.safetensors"])
def test_the_name_of_the_weights_is_the_model(name: str):
    assert model_name(Path(name)) == "resnet50"


def test_a_name_that_is_no_classifier_is_refused():
    with pytest.raises(ValueError, match=r"encoder\.pth is not named after a torchvision classifier"):
        model_name(Path("encoder.pth"))


def test_groups_are_inside_the_groups_above_them():
    for group, (parents, _) in taxonomy.GROUPS.items():
        members = set(taxonomy.classes(group))
        assert members <= set(range(1000))
        for parent in parents:
            if parent in ("Animal", "Mammal", "Bird", "Pet", "Dog", "Vehicle", "Building", "Food", "Clothing"):
                assert members <= set(taxonomy.classes(parent)), f"{group} is not inside {parent}"
