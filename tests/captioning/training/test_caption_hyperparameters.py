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
