"""`transformers` in float32: `GPT2LMHeadModel.generate`, sampling several lines of one prompt."""

from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

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


class Transformers:
    """See `turn.Writer`."""

    def __init__(self, asked: Asked) -> None:
        torch.set_num_threads(asked.threads)
        self._model = GPT2LMHeadModel(GPT2Config(**config(asked.shape))).eval()
        named = {name: torch.from_numpy(array) for name, array in weights(asked.base).items()}
        self._model.transformer.load_state_dict(named)
        self._model.tie_weights()
        self._prompt = torch.tensor([prefix_tokens(self._model.config.vocab_size)])
        self.weight_bytes = sum(4 * parameter.numel() for parameter in self._model.parameters())

    @torch.inference_mode()
    def write(self, sequences: int, tokens: int) -> int:
        """See `Writer.write`."""
        lines = self._model.generate(
            self._prompt,
            attention_mask=torch.ones_like(self._prompt),
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=TOP_K,
            top_p=TOP_P,
            repetition_penalty=REPETITION_PENALTY,
            num_return_sequences=sequences,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
        )
        return int(lines.shape[1]) - self._prompt.shape[1]

    @torch.inference_mode()
    def first(self) -> int:
        """See `Writer.first`."""
        return int(self._model(self._prompt).logits[0, -1].argmax())


if __name__ == "__main__":
    take_turns(Transformers(Asked.read()))
