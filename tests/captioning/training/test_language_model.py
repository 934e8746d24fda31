import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from ogiri.captioning.model.decoder import Prefix
from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.vocabulary import BETWEEN, Situation, Vocabulary
from ogiri.captioning.training import language_model
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.language_model import LanguageModel, knows_no_capitals, open_language_model
from ogiri.task import UserError
from tests.captioning.training.published import (
    LINES,
    POSITIONS,
    WIDTH,
    change_config,
    sentencepiece_model,
    write_language_model,
)

NAME = "rinna/small"
NONE = torch.zeros(1, 0, dtype=torch.int64)
NOTHING = Prefix(torch.zeros(1, 0, 4), torch.zeros(1, 0, 0, dtype=torch.int64), NONE, NONE, NONE)


def opened(pretrained: Path | None, name: str = NAME, **values: object) -> LanguageModel:
    hp = CaptionHyperparameters(decoder="gpt2", language_model=name, **{"max_length": 20, **values})
    return open_language_model(hp, pretrained)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `pretrained` channel that nobody changes."""
    channel = tmp_path_factory.mktemp("pretrained")
    write_language_model(channel / NAME)
    return channel


@pytest.fixture
def folder(channel: Path, tmp_path: Path) -> Path:
    """A language model to be spoilt; `tmp_path` is its channel."""
    return Path(shutil.copytree(channel / NAME, tmp_path / NAME))


# --- the weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spare_rows", [0, 7])
def test_the_decoder_writes_what_the_published_model_writes(tmp_path: Path, spare_rows: int):
    published = write_language_model(tmp_path / NAME, spare_rows, n_inner=96, layer_norm_epsilon=0.1)
    model = opened(tmp_path)
    size = model.tokenizer.vocabulary
    assert published.config.vocab_size == size + spare_rows
    decoder = GPT2Decoder(model.dimensions(GPT2Dimensions(size, channels=4, buckets=3, positions=21))).eval()
    decoder.load_language_model(model.weights(21))
    tokens = torch.tensor([[1, *model.tokenizer.encode("犬も歩けば猫が踊る。")]])
    with torch.no_grad():
        expected = published(tokens).logits[..., :size]
        assert expected.std() > 0.5
        torch.testing.assert_close(decoder(NOTHING, tokens), expected, rtol=1e-5, atol=1e-5)


def test_half_precision_and_the_names_of_older_files_are_read(folder: Path, tmp_path: Path):
    expected = load_file(folder / "model.safetensors")
    old = {name.removeprefix("transformer."): value.bfloat16() for name, value in expected.items()}
    old |= {f"h.{layer}.attn.{name}": torch.ones(1) for layer in range(2) for name in ("bias", "masked_bias")}
    old["lm_head.weight"] = old["wte.weight"].clone()
    save_file(old, folder / "model.safetensors")
    weights = opened(tmp_path).weights(30)
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert weights["wpe.weight"].shape == (30, WIDTH)
    torch.testing.assert_close(weights["wte.weight"], expected["transformer.wte.weight"], rtol=0.01, atol=0.01)


def test_other_weights_have_another_fingerprint(folder: Path, channel: Path, tmp_path: Path):
    assert opened(tmp_path).fingerprint() == opened(channel).fingerprint()
    weights = load_file(folder / "model.safetensors")
    weights["transformer.ln_f.bias"] += 1
    save_file(weights, folder / "model.safetensors")
    assert opened(tmp_path).fingerprint() != opened(channel).fingerprint()


def test_the_channel_itself_may_be_the_folder(channel: Path):
    assert opened(channel / NAME, ".").fingerprint() == opened(channel).fingerprint()


# --- the tokenizer ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(channel: Path) -> Tokenizer:
    return opened(channel).tokenizer


@pytest.mark.parametrize("text", ["犬も歩けば棒に当たる。", "(笑)", " 犬", "the dog"])
def test_no_text_begins_with_a_space(tokenizer: Tokenizer, text: str):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text.strip()
    assert not tokenizer.surfaces[tokens[0]].startswith(b" ")


@pytest.mark.parametrize(
    ("text", "written"),
    [("The DOG", "the dog"), ("ｔｈｅ　ﾄﾞｯｸﾞ！", "the !"), ("犬\n猫", "犬 猫"), ("犬🍣猫", "犬猫"), ("", ""), ("🍣", "")],
)
def test_it_writes_a_text_as_far_as_it_has_pieces(tokenizer: Tokenizer, text: str, written: str):
    assert tokenizer.decode(tokenizer.encode(text)) == written


def test_what_it_has_no_piece_for_is_the_unknown_token_which_is_never_written(tokenizer: Tokenizer):
    assert tokenizer.unknown in tokenizer.encode("犬🍣猫")
    assert tokenizer.unknown not in tokenizer.encode("犬猫")
    vocabulary = Vocabulary(tokenizer.surfaces, tokenizer.eos)
    anything = Situation(BETWEEN, characters_left=99, tokens_left=99, short=False, hurry=False, may_end=True)
    forbidden = vocabulary.forbidden(anything)
    assert [token for token in range(8) if forbidden[token]] == [tokenizer.unknown, tokenizer.bos, 3]
    assert forbidden.sum() == 3


def test_capitals_are_kept_where_the_model_has_learned_them():
    lines = [line.replace("dog", "Dog").replace("cat", "CAT") for line in LINES]
    assert knows_no_capitals(sentencepiece_model())
    assert not knows_no_capitals(sentencepiece_model(sentence_iterator=iter(lines)))
    assert not knows_no_capitals(sentencepiece_model(sentence_iterator=iter(LINES[:4])))


def test_any_one_sentencepiece_model_will_do(folder: Path, tmp_path: Path):
    (folder / "spiece.model").rename(folder / "sp.model")
    assert opened(tmp_path).tokenizer.vocabulary > 50


# --- folders that do not fit -----------------------------------------------------------------------------------------


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def config(**values: object) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, **values)


def no_kind(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    del values["model_type"]
    (folder / "config.json").write_text(json.dumps(values))


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def broken_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no tensors")


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = load_file(folder / "model.safetensors")
        change(values)
        save_file(values, folder / "model.safetensors")

    return spoil


def no_tokenizer(folder: Path) -> None:
    (folder / "spiece.model").unlink()


def two_tokenizers(folder: Path) -> None:
    shutil.copy(folder / "spiece.model", folder / "b.model")
    (folder / "spiece.model").rename(folder / "a.model")


def broken_tokenizer(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(b"no model")


def tokenizer_without_end(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(sentencepiece_model(eos_id=-1, pad_id=-1))


def larger_tokenizer(folder: Path) -> None:
    more = [chr(0x4E00 + n) for n in range(40)]
    (folder / "spiece.model").write_bytes(sentencepiece_model(sentence_iterator=iter([*LINES, *more]), vocab_size=200))


BAD_FOLDERS = {
    r"there is no folder rinna/small below .*: put a folder with config\.json, model\.safetensors and": no_folder,
    r"has no config\.json: it is no folder of a language model": no_config,
    r"config\.json cannot be read as the configuration of a GPT-2": no_json,
    r"n_embd.* cannot|cannot be read as the configuration": config(n_embd="wide"),
    r"has model_type 'gpt_neox': only 'gpt2' can be trained": config(model_type="gpt_neox"),
    r"has model_type None: only 'gpt2' can be trained": no_kind,
    r"has activation_function 'relu': only 'gelu_new' and": config(activation_function="relu"),
    r"has scale_attn_weights False: only True": config(scale_attn_weights=False),
    r"has scale_attn_by_inverse_layer_idx True: only False": config(scale_attn_by_inverse_layer_idx=True),
    r"has add_cross_attention True: only False": config(add_cross_attention=True),
    r"has tie_word_embeddings False: only True": config(tie_word_embeddings=False),
    r"has n_embd 48, which is no multiple of n_head 5": config(n_head=5),
    r"has no model\.safetensors, and pytorch_model\.bin is not opened because .* save_pretrained": pickled_weights,
    r"small has no model\.safetensors$": no_weights,
    r"model\.safetensors cannot be read as safetensors": broken_weights,
    r"does not fit config\.json: h\.1\.ln_1\.bias is missing, it should be \(48,\)": weights(
        lambda values: values.pop("transformer.h.1.ln_1.bias")
    ),
    r"does not fit config\.json: wpe\.weight is \(40, 48\), it should be \(50, 48\)": config(n_positions=50),
    r"does not fit config\.json: score\.weight is \(3,\), it should be absent": weights(
        lambda values: values.update({"score.weight": torch.zeros(3)})
    ),
    r"has no spiece\.model, and of other SentencePiece models none": no_tokenizer,
    r"and of other SentencePiece models a\.model, b\.model: leave one of them": two_tokenizers,
    r"spiece\.model does not fit: tokenizer\.model is not a SentencePiece model": broken_tokenizer,
    r"spiece\.model does not fit: tokenizer\.model has no begin or no end token": tokenizer_without_end,
    r"has embeddings of \d+ tokens and a tokenizer of \d+: they are not of one training": larger_tokenizer,
}


@pytest.mark.parametrize(("message", "spoil"), BAD_FOLDERS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_folder_that_does_not_fit_is_refused_with_the_reason(
    folder: Path, tmp_path: Path, message: str, spoil: Callable[[Path], None]
):
    spoil(folder)
    with pytest.raises(UserError, match=message):
        opened(tmp_path)


def test_an_output_embedding_of_its_own_is_refused(folder: Path, tmp_path: Path):
    weights(lambda values: values.update({"lm_head.weight": values["transformer.wte.weight"] + 1}))(folder)
    with pytest.raises(UserError, match="has an output embedding of its own"):
        opened(tmp_path).weights(20)


def test_a_line_must_fit_into_the_positions(channel: Path):
    opened(channel, max_length=POSITIONS - 1)
    with pytest.raises(UserError, match=r"max_length is 40: .* has 40 positions, .* set max_length to 39 or less"):
        opened(channel, max_length=POSITIONS)


def test_what_no_graph_can_hold_is_refused(channel: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(language_model, "MAX_BYTES", 100_000)
    with pytest.raises(UserError, match="so take a smaller language model"):
        opened(channel)


def test_without_a_channel_there_is_no_language_model():
    with pytest.raises(UserError, match=r"language_model is 'rinna/small' and there is no `pretrained` channel"):
        opened(None)


def test_a_folder_beside_the_channel_is_none_of_it(channel: Path):
    with pytest.raises(UserError, match=r"there is no folder \.\./small below"):
        opened(channel / "rinna" / "other", "../small")


def test_a_hub_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, channel: Path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="language_model 'rinna/absent' cannot be downloaded"):
        opened(channel, "rinna/absent", allow_download=True)
    assert opened(channel, allow_download=True).tokenizer.lower_case  # what lies in the channel is not downloaded
