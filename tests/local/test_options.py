from __future__ import annotations

from pathlib import Path

import pytest

from local.options import EXAMPLE_HYPERPARAMETERS, OptionError, parse


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("image_url,expected_result\na.jpg,ねこです\n", encoding="utf-8")
    return path


def weights(folder: Path, *names: str) -> Path:
    (folder / "deep").mkdir()
    for name in names:
        (folder / "deep" / name).touch()
    return folder


def test_without_options_the_examples_are_learnt_from_nothing():
    options = parse([])
    assert options.csv is None
    assert options.pretrained is None
    assert options.hyperparameters == EXAMPLE_HYPERPARAMETERS
    assert options.hyperparameters["encoder_weights"] == "none"
    assert options.out == Path("build/demo")


def test_own_rows_and_hyperparameters(csv: Path, tmp_path: Path):
    given = ["--csv", str(csv), "--images", str(tmp_path), "--epochs", "3", "--hyperparameter", "patience=2"]
    options = parse(given)
    assert (options.csv, options.images) == (csv, tmp_path)
    assert options.hyperparameters["epochs"] == "3"
    assert options.hyperparameters["patience"] == "2"


@pytest.mark.parametrize("name", ["mobilenet_v2.pth", "mobilenet_v2.safetensors"])
def test_the_only_weights_name_the_encoder(tmp_path: Path, name: str):
    options = parse(["--pretrained", str(weights(tmp_path, name))])
    assert options.hyperparameters["encoder"] == "mobilenet_v2"
    assert options.hyperparameters["encoder_weights"] == "pretrained"
    assert options.hyperparameters["image_size"] == "224"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--csv", "none.csv"], r"CSV is none\.csv: there is no such file"),
        (["--images", "."], "no CSV with the lines for them: add CSV="),
        (["--pretrained", "none"], "PRETRAINED is none: there is no such folder"),
        (["--hyperparameter", "patience"], "'patience' is no hyperparameter: write name=value"),
        (["--hyperparameter", "batchsize=3"], "batchsize is not a known parameter: did you mean batch_size"),
        (["--epochs", "0"], "epochs is 0: it must be"),
    ],
)
def test_what_cannot_be_followed_is_named(given: list[str], message: str):
    with pytest.raises(OptionError, match=message):
        parse(given)


def test_missing_folder_of_pictures_is_named(csv: Path):
    with pytest.raises(OptionError, match="IMAGES is nowhere: there is no such folder"):
        parse(["--csv", str(csv), "--images", "nowhere"])


def test_weights_that_are_not_there_are_named(tmp_path: Path):
    folder = weights(tmp_path, "mobilenet_v2.pth")
    with pytest.raises(
        OptionError, match=r"no resnet50\.pth and no resnet50\.safetensors, but weights of mobilenet_v2"
    ):
        parse(["--pretrained", str(folder), "--encoder", "resnet50"])


def test_of_several_weights_one_must_be_chosen(tmp_path: Path):
    folder = weights(tmp_path, "mobilenet_v2.pth", "resnet18.pth")
    with pytest.raises(OptionError, match="mobilenet_v2, resnet18: say which with ENCODER="):
        parse(["--pretrained", str(folder)])
    assert parse(["--pretrained", str(folder), "--encoder", "resnet18"]).hyperparameters["encoder"] == "resnet18"
