"""llama.cpp with 4-bit weights (q4_0), text only. The file is made once, below the artifact's folder."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import numpy.typing as npt

from benchmarks.serving.engines.language_model import config, weights
from benchmarks.serving.engines.turn import POSITIONS, TEMPERATURE, Asked, prefix_tokens, take_turns
from benchmarks.serving.peers.lines import draw

MAX_SEQUENCES = 16
TYPE = gguf.GGMLQuantizationType.Q4_0
ARCHITECTURE = "gpt2"


class Llama:
    """See `turn.Writer`. Sequences share the keys and values of the prompt."""

    def __init__(self, asked: Asked) -> None:
        file = asked.base / "q4_0.gguf"
        if not file.exists():
            convert(asked.base, asked.shape, file)
        self.weight_bytes = file.stat().st_size
        self._vocabulary = config(asked.shape)["vocab_size"]
        self._prompt = prefix_tokens(self._vocabulary)
        self._random = np.random.default_rng()
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), llama_cpp.llama_model_default_params())
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_seq_max = POSITIONS * MAX_SEQUENCES, MAX_SEQUENCES
        options.n_threads = options.n_threads_batch = asked.threads
        options.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(POSITIONS, 0, 1)

    def write(self, sequences: int, tokens: int) -> int:
        """See `Writer.write`."""
        logits = np.repeat(self._prefill(), sequences, 0)
        for number in range(1, sequences):
            llama_cpp.llama_memory_seq_cp(self._memory, 0, number, -1, -1)
        temperatures = np.full(sequences, TEMPERATURE, np.float32)
        written = np.empty((sequences, 0), np.int64)
        for number in range(tokens):
            if number:
                place = len(self._prompt) + number - 1
                logits = self._decode([(int(token), place, row, True) for row, token in enumerate(written[:, -1])])
            written = np.concatenate([written, draw(logits, written, temperatures, self._random)[:, None]], 1)
        return written.shape[1]

    def first(self) -> int:
        """See `Writer.first`."""
        return int(self._prefill()[0].argmax())

    def _prefill(self) -> npt.NDArray[np.float32]:
        llama_cpp.llama_memory_clear(self._memory, True)
        last = len(self._prompt) - 1
        return self._decode([(token, place, 0, place == last) for place, token in enumerate(self._prompt)])

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> npt.NDArray[np.float32]:
        """(token, place, sequence, whether its logits are wanted) … → (wanted, vocabulary)."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for index, (token, place, sequence, wanted) in enumerate(entries):
            batch.token[index], batch.pos[index], batch.logits[index] = token, place, wanted
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
        if failed := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode ended with {failed}")
        return np.stack(
            [
                np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._context, index), (self._vocabulary,))
                for index, entry in enumerate(entries)
                if entry[3]
            ]
        )


def convert(base: Path, shape: str, file: Path) -> None:
    """Write the language model as GGUF: matrices in 4 bits, the rest in float32."""
    named, sizes = weights(base), config(shape)
    writer = gguf.GGUFWriter(file, ARCHITECTURE)
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(sizes["n_embd"])
    writer.add_block_count(sizes["n_layer"])
    writer.add_feed_forward_length(4 * sizes["n_embd"])
    writer.add_head_count(sizes["n_head"])
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(sizes["vocab_size"])
    writer.add_tokenizer_model("none")
    outer = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
    inner = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output"}
    inner |= {"ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    names = outer | {
        f"h.{n}.{ours}": f"blk.{n}.{theirs}" for n in range(sizes["n_layer"]) for ours, theirs in inner.items()
    }
    for name, array in named.items():
        module, _, kind = name.rpartition(".")
        _add(writer, f"{names[module]}.{kind}", array.T if ".c_" in module and array.ndim > 1 else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: Any, name: str, array: npt.NDArray[np.float32]) -> None:
    if array.ndim == 1 or name.startswith("position_embd"):
        writer.add_tensor(name, np.ascontiguousarray(array))
        return
    rounded = gguf.quants.quantize(np.ascontiguousarray(array), TYPE)
    writer.add_tensor(name, rounded, raw_dtype=TYPE)


if __name__ == "__main__":
    take_turns(Llama(Asked.read()))
