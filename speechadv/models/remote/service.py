"""A black box as a classifier: rate limit, retries, time-out, and a number of queries that is never exceeded."""
import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ... import config as configs
from ...audio import to_pcm16, wav_bytes
from ...errors import ConfigError, InputError, shown
from ..foreign import Request, check_labels, words
from .answers import Answer, logits, parse
from .transports import Command, Http, Unanswered

COMMAND = "command:"
SETTINGS = re.compile(r"#([a-z_]+=[^#]*)$")
PAUSE = 0.25  # seconds before the first retry; doubled for each further one


@dataclass
class ServiceSettings:
    """What follows `#` in the word of a black box: `queries=500&per_second=10&labels=yes,no`.

    Raises ConfigError: a value out of range.
    """

    queries: int = 1000  # questions at most, retries included
    per_second: float | None = None  # questions a second at most
    timeout: float = 10.0  # seconds until an answer has to be there
    retries: int = 2  # of a question that was not answered
    labels: str | None = None  # needed where the answer is a label alone
    sample_rate: int = 16000  # Hz of the WAV files

    def __post_init__(self):
        for key, good, expected in (("queries", self.queries >= 1, "1 or more"), ("retries", 0 <= self.retries <= 100, "0 to 100"),
                                    ("per_second", self.per_second is None or self.per_second > 0, "a number above 0"),
                                    ("timeout", 0 < self.timeout <= 3600, "seconds above 0, an hour at most"),
                                    ("sample_rate", 1000 <= self.sample_rate <= 192000, "1000 to 192000 Hz")):
            configs.require(good, key, expected, getattr(self, key), "settings after #")


class Service(nn.Module):
    """A classifier that asks a command or an address about each clip, one at a time.

    The same sound is asked about once; what was answered is remembered. Copies are the same object: they share the count.

    Args:
        transport: how to ask.
        settings: limits, and the labels where they are known.
        where: names the model in messages.

    Attributes:
        labels, sample_rate: of the answers and the files.
        access: "scores", or "label" where a label alone comes back; known from the first answer.
        spent: questions asked so far, retries included; never more than `settings.queries`.

    Raises:
        InputError: no answer, or one in no known form. ConfigError: labels are needed.
    """

    def __init__(self, transport: Command | Http, settings: ServiceSettings, where: str):
        super().__init__()
        self.transport, self.settings, self.where = transport, settings, where
        self.sample_rate, self.spent, self.access = settings.sample_rate, 0, "scores"
        self.labels = words(settings.labels)
        self._known: dict[bytes, Tensor] = {}
        self._next = 0.0
        self._meet()
        self.training = False

    @property
    def queries_left(self) -> int:
        """Questions that may still be asked."""
        return self.settings.queries - self.spent

    def __deepcopy__(self, memo) -> "Service":
        return self

    def train(self, mode: bool = True) -> "Service":
        return self

    def forward(self, waveforms: Tensor) -> Tensor:
        """(batch, time) float32 -> (batch, labels): what the box says, without a gradient."""
        rows = [self._row(to_pcm16(clip)) for clip in waveforms.detach().cpu().numpy()]
        return torch.stack(rows).to(waveforms.device) if rows else waveforms.new_zeros(0, len(self.labels))

    def _meet(self) -> None:
        """One question, for what kind of answers come and, where nobody named them, the labels."""
        tone = 0.1 * torch.sin(2 * torch.pi * 220 / self.sample_rate * torch.arange(self.sample_rate))
        answer = self._ask(wav_bytes(to_pcm16(tone.numpy()), self.sample_rate))
        self.access = "label" if answer.scores is None else "scores"
        if self.labels is None and answer.scores is None:
            raise ConfigError(f"{self.where}: answers with a label alone: name all labels, with --labels or after # (#labels=yes,no)")
        self.labels = self.labels or tuple(answer.scores)
        check_labels(self.labels, self.where)
        logits(answer, self.labels, self.where)

    def _row(self, pcm) -> Tensor:
        name = hashlib.sha256(pcm.tobytes()).digest()
        if name not in self._known:
            answer = self._ask(wav_bytes(pcm, self.sample_rate))
            if (answer.scores is None) != (self.access == "label"):
                raise InputError(f"{self.where}: answers sometimes with scores and sometimes with a label alone")
            self._known[name] = torch.tensor(logits(answer, self.labels, self.where))
        return self._known[name]

    def _ask(self, wav: bytes) -> Answer:
        """One question, asked again where it may be. Raises InputError."""
        for attempt in range(self.settings.retries + 1):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            self._wait_and_count()
            try:
                return parse(self.transport.ask(wav, self.settings.timeout), self.where)
            except Unanswered as why:
                problem = why
        raise InputError(f"{self.where}: gave no answer in {self.settings.retries + 1} tries: {shown(problem)}")

    def _wait_and_count(self) -> None:
        if not self.queries_left:
            raise InputError(f"{self.where}: all {self.settings.queries} queries are used up: allow more with #queries=N, or let the attack ask less often")
        self.spent += 1
        now = time.monotonic()
        if self.settings.per_second:
            time.sleep(max(0.0, self._next - now))
            self._next = max(now, self._next) + 1 / self.settings.per_second


def load_service(request: Request) -> Service:
    """The black box that a word names: `command:'./recognise {wav}'` or an address, each with its settings after `#`.

    Raises:
        ConfigError: the command, address or a setting is wrong. InputError: nobody answers, or with nonsense.
    """
    plain, given = _settings(request.word)
    where = f"--model '{shown(plain)}'"
    given |= {key: value for key, value in (("labels", ",".join(request.labels or ())), ("sample_rate", request.sample_rate)) if value}
    settings = configs.from_dict(ServiceSettings, given, f"{where}: settings after #")
    transport = Command(plain.removeprefix(COMMAND), where) if plain.startswith(COMMAND) else Http(plain, where)
    return Service(transport, settings, where)


def _settings(word: str) -> tuple[str, dict[str, Any]]:
    """The word without its settings, and these."""
    found = SETTINGS.search(word)
    if not found:
        return word, {}
    return word[: found.start()], dict(configs.parse_override(part) for part in found.group(1).split("&"))
