"""A Llama of a few hundred kB with random weights, and a server of transformers' own that answers with it."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

WINDOW = 512
_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_TEXTS = ["the quick brown fox jumps over the lazy dog", "a server of a small model answers with tokens of its own"]
_START_S = 120
_SERVE = "from transformers.cli.transformers import main; main()"


def make(folder: Path, seed: int = 0) -> Path:
    """Write the model and its tokenizer, trained on a few words, into a folder."""
    # Seconds of imports, of what few environments have: not before they are wanted.
    import torch  # noqa: PLC0415
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: PLC0415

    bytes_alone = Tokenizer(models.BPE())
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_alone.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=special, initial_alphabet=alphabet)
    bytes_alone.train_from_iterator(_TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone, eos_token="<|end|>", pad_token="<|end|>", model_max_length=WINDOW
    )
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


class TinyLlama:
    """`transformers serve` on loopback. Start it with `with`."""

    def __init__(self, folder: Path) -> None:
        self.model = str(make(folder / "tiny-llama"))
        self._log = folder / "serve.log"
        self._cache = folder / "hub"  # without one its list of models is a 500
        self._cache.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "TinyLlama":
        arguments = ["serve", self.model, "--device", "cpu", "--host", "127.0.0.1", "--port", str(self.port)]
        environ = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(self._cache), "OMP_NUM_THREADS": "1"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, *arguments], env=environ, stdout=log, stderr=log
            )
        last = time.monotonic() + _START_S
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > last:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
