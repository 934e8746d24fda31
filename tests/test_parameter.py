import json
import math
from dataclasses import dataclass

import pytest

from ogiri.parameter import (
    Bounds,
    ParameterError,
    bounds_of,
    decode_string,
    from_json,
    from_strings,
    parameter,
    unknown_name,
)


@dataclass(frozen=True)
class Parameters:
    epochs: int = parameter(10, "passes over the data", minimum=1, maximum=1000)
    learning_rate: float = parameter(0.001, "of the optimiser", above=0, maximum=1)
    top_p: float = parameter(0.92, "share kept", above=0, maximum=1)
    top_k: int = parameter(0, "0 = off", minimum=0)
    seed: int | None = parameter(None, "of the dice", minimum=0, maximum=2**63 - 1)
    encoder: str = parameter("resnet50", "a torchvision model")
    decoder: str = parameter("lstm", "what writes", choices=("lstm", "gpt2"))
    language_model: str | None = parameter(None, "a folder")
    quantize: bool = parameter(True, "whether to")
    banned_words: tuple[str, ...] = parameter([], "never said")


def test_defaults():
    assert from_json(Parameters, {}) == Parameters()
    assert from_strings(Parameters, {}) == Parameters()
    assert Parameters().banned_words == ()


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("epochs", 1, 1),
        ("epochs", 1000, 1000),
        ("top_p", 1, 1.0),
        ("top_p", 0.5, 0.5),
        ("learning_rate", 1e-300, 1e-300),
        ("top_k", 10**30, 10**30),
        ("seed", 0, 0),
        ("seed", 2**63 - 1, 2**63 - 1),
        ("seed", None, None),
        ("encoder", "", ""),
        ("decoder", "gpt2", "gpt2"),
        ("language_model", None, None),
        ("language_model", "rinna", "rinna"),
        ("quantize", False, False),
        ("banned_words", ["猫", "犬"], ("猫", "犬")),
        ("banned_words", [], ()),
    ],
)
def test_takes(name, value, taken):
    found = getattr(from_json(Parameters, {name: value}), name)
    assert found == taken
    assert type(found) is type(taken)


WHOLE, NUMBER, STRING, BOOLEAN = "a whole number", "a number", "a string", "true or false"


@pytest.mark.parametrize(
    ("name", "value", "must_be"),
    [
        ("epochs", "5", WHOLE),
        ("epochs", 5.0, WHOLE),
        ("epochs", 5.5, WHOLE),
        ("epochs", True, WHOLE),
        ("epochs", None, WHOLE),
        ("epochs", [5], WHOLE),
        ("epochs", {}, WHOLE),
        ("top_p", "0.5", NUMBER),
        ("top_p", True, NUMBER),
        ("top_p", None, NUMBER),
        ("seed", False, f"{WHOLE} or null"),
        ("seed", 1.0, f"{WHOLE} or null"),
        ("encoder", 5, STRING),
        ("encoder", None, STRING),
        ("encoder", True, STRING),
        ("language_model", 5, f"{STRING} or null"),
        ("quantize", 1, BOOLEAN),
        ("quantize", 0, BOOLEAN),
        ("quantize", "true", BOOLEAN),
        ("quantize", None, BOOLEAN),
        ("banned_words", "猫", "a list of strings"),
        ("banned_words", [1], "a list of strings"),
        ("banned_words", ["猫", None], "a list of strings"),
        ("banned_words", {"猫": 1}, "a list of strings"),
        ("banned_words", None, "a list of strings"),
    ],
)
def test_wrong_type_is_refused_naming_parameter_value_and_type(name, value, must_be):
    with pytest.raises(ParameterError) as caught:
        from_json(Parameters, {name: value})
    assert str(caught.value) == f"{name} is {json.dumps(value, ensure_ascii=False)}: it must be {must_be}"


@pytest.mark.parametrize(
    ("name", "value", "must_be"),
    [
        ("epochs", 0, "1 to 1000"),
        ("epochs", -1, "1 to 1000"),
        ("epochs", 1001, "1 to 1000"),
        ("epochs", 10**400, "1 to 1000"),
        ("learning_rate", 0, "above 0 and at most 1"),
        ("learning_rate", -1e-9, "above 0 and at most 1"),
        ("learning_rate", 1.0001, "above 0 and at most 1"),
        ("top_k", -1, "at least 0"),
        ("seed", -1, "0 to 9223372036854775807"),
        ("seed", 2**63, "0 to 9223372036854775807"),
        ("decoder", "rnn", "one of lstm, gpt2"),
        ("decoder", "", "one of lstm, gpt2"),
    ],
)
def test_out_of_range_is_refused_naming_the_range(name, value, must_be):
    with pytest.raises(ParameterError) as caught:
        from_json(Parameters, {name: value})
    assert str(caught.value).startswith(f"{name} is ")
    assert str(caught.value).endswith(f": it must be {must_be}")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_numbers_that_are_not_finite(value):
    with pytest.raises(ParameterError, match=r"top_p is .*: it must be a finite number"):
        from_json(Parameters, {"top_p": value})
    with pytest.raises(ParameterError, match="epochs is "):
        from_json(Parameters, {"epochs": value})


def test_long_values_are_shortened_in_the_message():
    with pytest.raises(ParameterError) as caught:
        from_json(Parameters, {"decoder": "x" * 10_000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "near"),
    [("epoch", "epochs"), ("learning-rate", "learning_rate"), ("Top_P", "top_p"), ("banned_word", "banned_words")],
)
def test_unknown_name_suggests_the_nearest(name, near):
    with pytest.raises(ParameterError, match=f"^{name} is not a known parameter: did you mean {near}\\?$"):
        from_json(Parameters, {name: 1})


def test_unknown_name_far_from_all_lists_what_is_known():
    assert unknown_name("xyzzy", ["b", "a"]) == "xyzzy is not a known parameter: known are a, b"


def test_everything_wrong_is_said_at_once():
    with pytest.raises(ParameterError) as caught:
        from_strings(Parameters, {"epoch": "5", "top_p": "2", "quantize": "maybe", "top_k": "3"})
    message = str(caught.value)
    assert [name in message for name in ("epoch ", "top_p", "quantize", "top_k")] == [True, True, True, False]
    assert message.count("; ") == 2


def test_defaults_of_an_artifact_stand_below_values_and_are_checked_too():
    found = from_json(Parameters, {"top_p": 0.1}, defaults={"top_p": 0.5, "top_k": 7})
    assert (found.top_p, found.top_k, found.epochs) == (0.1, 7, 10)
    with pytest.raises(ParameterError, match="top_k is -1"):
        from_json(Parameters, {}, defaults={"top_k": -1})
    with pytest.raises(ParameterError, match="top_l is not"):
        from_json(Parameters, {}, defaults={"top_l": 1})


def test_checks_across_parameters_come_after_each_is_right():
    @dataclass(frozen=True)
    class Search:
        num_beams: int = parameter(1, "beams", minimum=1)
        num_candidates: int = parameter(1, "answers", minimum=1)

        def __post_init__(self):
            if self.num_beams > 1 and self.num_candidates > self.num_beams:
                raise ParameterError(f"num_candidates is {self.num_candidates}: at most num_beams")

    assert from_json(Search, {"num_beams": 4, "num_candidates": 4}).num_beams == 4
    with pytest.raises(ParameterError, match="num_candidates is 5"):
        from_json(Search, {"num_beams": 4, "num_candidates": 5})


# --- strings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "taken"),
    [
        # as the console, the old SDK (JSON in JSON) and the new one write a number
        ("epochs", "5", 5),
        ("epochs", '"5"', 5),
        ("epochs", '"\\"5\\""', 5),
        ("epochs", " 5 ", 5),
        ("epochs", "5.0", 5),
        ("epochs", "1e2", 100),
        ("epochs", 5, 5),
        ("epochs", 5.0, 5),
        ("learning_rate", "3e-4", 3e-4),
        ("learning_rate", ".5", 0.5),
        ("learning_rate", '"0.5"', 0.5),
        ("learning_rate", "1", 1.0),
        ("learning_rate", 1, 1.0),
        ("seed", "null", None),
        ("seed", "9223372036854775807", 2**63 - 1),
        ("quantize", "True", True),
        ("quantize", "False", False),
        ("quantize", "false", False),
        ("quantize", "TRUE", True),
        ("quantize", '"true"', True),
        ("quantize", '"\\"False\\""', False),
        ("quantize", False, False),
        ("quantize", "1", True),
        ("quantize", "0", False),
        ("quantize", '"1"', True),
        ("quantize", 1, True),
        ("quantize", " True ", True),
        ("epochs", '"10.0"', 10),
        ("epochs", '"1e2"', 100),
        ("learning_rate", '"1e-3"', 1e-3),
        ("top_k", "1e3", 1000),
        ("seed", "None", None),
        ("language_model", "None", None),
        ("banned_words", "['猫', '犬']", ("猫", "犬")),
        ("banned_words", "[猫]", ("[猫]",)),
        ("encoder", "resnet18", "resnet18"),
        ("encoder", '"resnet18"', "resnet18"),
        ("encoder", '"\\"resnet18\\""', "resnet18"),
        ("encoder", "true", "true"),
        ("encoder", "01", "01"),
        ("encoder", "5", "5"),
        ("encoder", '"', '"'),
        ("encoder", '"a" and "b"', '"a" and "b"'),
        ("encoder", "ボケて", "ボケて"),
        ("encoder", json.dumps("ボケて"), "ボケて"),
        ("language_model", "null", None),
        ("language_model", "rinna/japanese-gpt2-small", "rinna/japanese-gpt2-small"),
        ("banned_words", '["猫", "犬"]', ("猫", "犬")),
        ("banned_words", json.dumps(json.dumps(["猫", "犬"])), ("猫", "犬")),
        ("banned_words", "猫|犬", ("猫", "犬")),
        ("banned_words", '"猫|犬"', ("猫", "犬")),
        ("banned_words", "猫", ("猫",)),
        ("banned_words", "", ()),
        ("banned_words", "[]", ()),
        ("banned_words", "5", ("5",)),
        ("banned_words", '"5"', ("5",)),
        ("banned_words", "5|1e3", ("5", "1e3")),
        ("banned_words", "007", ("007",)),
        ("banned_words", "1.50", ("1.50",)),
        ("banned_words", "null", ("null",)),
        ("banned_words", "true", ("true",)),
        ("banned_words", '["5"]', ("5",)),
    ],
)
def test_reads_what_sdks_write(name, text, taken):
    found = getattr(from_strings(Parameters, {name: text}), name)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("epochs", ""),
        ("epochs", "five"),
        ("epochs", "5.5"),
        ("epochs", "NaN"),
        ("epochs", "Infinity"),
        ("epochs", "true"),
        ("epochs", "null"),
        ("epochs", "[5]"),
        ("epochs", "9" * 5000),
        ("epochs", "[" * 100_000),
        ("learning_rate", "nan"),
        ("learning_rate", "NaN"),
        ("learning_rate", "inf"),
        ("learning_rate", "-Infinity"),
        ("learning_rate", "1e999"),
        ("learning_rate", "9" * 5000),
        ("learning_rate", ""),
        ("learning_rate", "True"),
        ("quantize", "yes"),
        ("quantize", "2"),
        ("quantize", "1.0"),
        ("quantize", ""),
        ("encoder", 5),
        ("decoder", "LSTM"),
        ("banned_words", "[1, 2]"),
        ("banned_words", '{"a": 1}'),
        ("banned_words", 5),
    ],
)
def test_strings_that_are_refused(name, text):
    with pytest.raises(ParameterError, match=f"^{name} is "):
        from_strings(Parameters, {name: text})


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ('"5"', 5), ('"\\"5\\""', 5), ("resnet50", "resnet50"), ('"x"', "x"), ("null", None), ("[1]", [1])],
)
def test_decode_string(text, value):
    assert decode_string(text) == value


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_bounds_are_listed_in_the_order_of_declaration():
    assert list(bounds_of(Parameters))[:3] == ["epochs", "learning_rate", "top_p"]
    assert bounds_of(Parameters)["epochs"] == Bounds("passes over the data", minimum=1, maximum=1000)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds("", minimum=1, maximum=16), "1 to 16"),
        (Bounds("", minimum=0.5, maximum=2), "0.5 to 2"),
        (Bounds("", minimum=0), "at least 0"),
        (Bounds("", maximum=3), "at most 3"),
        (Bounds("", above=0, maximum=1), "above 0 and at most 1"),
        (Bounds("", above=0), "above 0"),
        (Bounds("", choices=("a", "b")), "one of a, b"),
        (Bounds(""), ""),
    ],
)
def test_bounds_in_words(bounds, words):
    assert bounds.describe() == words
