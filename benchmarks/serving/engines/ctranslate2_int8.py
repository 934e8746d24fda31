"""CTranslate2 in int8, text only: it takes no embeddings as input. Made once, below the artifact's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec

from benchmarks.serving.engines.language_model import config, weights
from benchmarks.serving.engines.turn import (
    REPETITION_PENALTY,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    Asked,
    prefix_tokens,
    take_turns,
)

TYPE = "int8"


class CTranslate2:
    """See `turn.Writer`."""

    def __init__(self, asked: Asked) -> None:
        folder = asked.base / "ctranslate2"
        if not folder.exists():
            convert(asked.base, asked.shape, folder)
        self.weight_bytes = (folder / "model.bin").stat().st_size
        self._generator = ctranslate2.Generator(
            str(folder), compute_type=TYPE, inter_threads=1, intra_threads=asked.threads
        )
        self._prompt = [str(token) for token in prefix_tokens(config(asked.shape)["vocab_size"])]

    def write(self, sequences: int, tokens: int) -> int:
        """See `Writer.write`."""
        results = self._generate(
            [self._prompt] * sequences,
            tokens,
            sampling_temperature=TEMPERATURE,
            sampling_topk=TOP_K,
            sampling_topp=TOP_P,
            repetition_penalty=REPETITION_PENALTY,
        )
        return min(len(result.sequences_ids[0]) for result in results)

    def first(self) -> int:
        """See `Writer.first`."""
        return int(self._generate([self._prompt], 1, sampling_topk=1)[0].sequences[0][0])

    def _generate(self, prompts: list[list[str]], tokens: int, **options: Any) -> Any:
        return self._generator.generate_batch(
            prompts, min_length=tokens, max_length=tokens, include_prompt_in_result=False, **options
        )


def convert(base: Path, shape: str, folder: Path) -> None:
    """Write the language model in CTranslate2's format."""
    named, sizes = weights(base), config(shape)
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        sizes["n_layer"], sizes["n_head"], pre_norm=True, activation=common_spec.Activation.GELUTanh
    )
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = named["wte.weight"]
    decoder.position_encodings.encodings = named["wpe.weight"]
    _norm(decoder.layer_norm, named, "ln_f")
    decoder.projection.weight = named["wte.weight"]
    for number, layer in enumerate(decoder.layer):
        name = f"h.{number}"
        _norm(layer.self_attention.layer_norm, named, f"{name}.ln_1")
        _linear(layer.self_attention.linear[0], named, f"{name}.attn.c_attn")
        _linear(layer.self_attention.linear[1], named, f"{name}.attn.c_proj")
        _norm(layer.ffn.layer_norm, named, f"{name}.ln_2")
        _linear(layer.ffn.linear_0, named, f"{name}.mlp.c_fc")
        _linear(layer.ffn.linear_1, named, f"{name}.mlp.c_proj")
    spec.register_vocabulary([str(token) for token in range(sizes["vocab_size"])])
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "1", "2", "0"
    spec.validate()
    spec.optimize(quantization=TYPE)
    folder.mkdir()
    spec.save(str(folder))


def _norm(layer: Any, named: dict[str, Any], name: str) -> None:
    layer.gamma, layer.beta = named[f"{name}.weight"], named[f"{name}.bias"]


def _linear(layer: Any, named: dict[str, Any], name: str) -> None:
    layer.weight = np.ascontiguousarray(named[f"{name}.weight"].T)  # Conv1D has (in, out)
    layer.bias = named[f"{name}.bias"]


if __name__ == "__main__":
    take_turns(CTranslate2(Asked.read()))
