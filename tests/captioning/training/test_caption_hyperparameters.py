import pytest

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.parameter import ParameterError, from_strings


def read(**values: str) -> CaptionHyperparameters:
    return from_strings(CaptionHyperparameters, values)


def test_strings_of_the_platform_become_values():
    hp = read(epochs="3", learning_rate="3e-4", quantize="false", encoder="resnet18", seed=str(2**63 - 1))
    assert (hp.epochs, hp.learning_rate, hp.quantize, hp.encoder, hp.seed) == (3, 3e-4, False, "resnet18", 2**63 - 1)


def test_the_encoder_is_trained_where_it_has_no_weights_or_where_that_is_asked_for():
    assert not read().trains_encoder
    assert read(encoder_weights="none").trains_encoder
    assert read(finetune_encoder="true").trains_encoder


def test_asking_for_fine_tuning_without_weights_is_a_contradiction():
    with pytest.raises(ParameterError, match="finetune_encoder is true and encoder_weights is none"):
        read(finetune_encoder="true", encoder_weights="none")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decoder_width", "100"),
        ("decoder_width", "31"),
        ("decoder_width", "16"),
        ("validation_fraction", "1"),
        ("learning_rate", "0"),
        ("image_size", "16"),
        ("seed", str(2**63)),
        ("encoder_weights", "imagenet"),
        ("epochs", "two"),
        ("vocabulary", "nan"),
    ],
)
def test_impossible_values_are_named(name: str, value: str):
    with pytest.raises(ParameterError, match=rf'{name} is "?{value}(\.0)?"?: it must be '):
        read(**{name: value})


def test_sizes_follow_the_decoder():
    assert (read().width, read().layers) == (512, 1)
    assert (read(decoder="gpt2").width, read(decoder="gpt2").layers) == (384, 6)
    given = read(decoder="gpt2", decoder_width="128", decoder_layers="3")
    assert (given.width, given.layers) == (128, 3)
    with pytest.raises(ParameterError, match="decoder_width is 200: it must be a multiple of 64"):
        read(decoder="gpt2", decoder_width="200")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder": "lstm"}, "language_model is ja and decoder is lstm: it needs decoder=gpt2"),
        ({"decoder_width": "128"}, "decoder_width is 128: language_model brings its own"),
        ({"decoder_layers": "2"}, "decoder_layers is 2: language_model brings its own"),
        ({"vocabulary": "500"}, "vocabulary is 500: language_model brings its own"),
        ({"epochs": "1"}, "mapper_epochs is 2 and epochs is 1"),
    ],
)
def test_what_contradicts_a_language_model_is_named(values: dict[str, str], message: str):
    with pytest.raises(ParameterError, match=message):
        read(**{"decoder": "gpt2", "language_model": "ja", **values})


def test_only_a_language_model_has_epochs_in_which_it_waits():
    assert read(epochs="1").frozen_epochs == read(decoder="gpt2", epochs="1").frozen_epochs == 0
    assert read(decoder="gpt2", language_model="ja").frozen_epochs == 2
    assert read(decoder="gpt2", language_model="ja", mapper_epochs="5").frozen_epochs == 5
