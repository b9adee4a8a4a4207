"""Black boxes: what is asked, how often, and what becomes of bad answers."""
import copy
import io
import json
import time
import wave

import pytest
import torch

from speechadv import create_attack, load_model
from speechadv.attacks.offered import offered
from speechadv.budgets import parse_budget
from speechadv.errors import SpeechAdvError
from speechadv.goals import Misclassify, Target
from speechadv.models.remote import service

GENERATOR = torch.Generator


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(service, "PAUSE", 0.001)


def tone(amplitude, count=1):
    return (amplitude * torch.sin(torch.arange(16000) * 0.1) * 32768).round()[None].repeat(count, 1) / 32768


def scores(wav, number):
    """Loud or quiet, by what the file holds."""
    with wave.open(io.BytesIO(wav)) as file:
        samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16) / 32768
    loud = float(samples.square().mean().sqrt())
    return 200, json.dumps({"labels": ["loud", "quiet"], "scores": [loud, 1 - loud]})


def test_a_command_with_scores(program):
    model = load_model(program("scores"))
    assert model.labels == ("loud", "quiet") and model.sample_rate == 16000 and model.access == "scores"
    assert model(torch.cat([tone(0.3), tone(0.01)])).argmax(1).tolist() == [0, 1]
    assert torch.allclose(model(tone(0.3)).exp().sum(1), torch.ones(1), atol=1e-4)
    assert not model(tone(0.3).requires_grad_()).requires_grad
    assert "genetic" in offered(model) and "square" in offered(model) and "pgd" not in offered(model)


def test_the_same_sound_is_asked_about_once_and_copies_share_the_count(program):
    model = load_model(program("scores"))
    model(tone(0.3, 3)), copy.deepcopy(model)(tone(0.3)), copy.deepcopy(model)(tone(0.2))
    assert model.spent == program.asked() == 3


def test_a_label_alone_allows_only_attacks_that_need_no_more(program):
    with pytest.raises(SpeechAdvError, match="answers with a label alone: name all labels"):
        load_model(program("label"))
    model = load_model(program("label"), labels="quiet,loud")
    assert model.labels == ("quiet", "loud") and offered(model) == ["hopskipjump", "noise"]
    for name in ("pgd", "square"):
        with pytest.raises(SpeechAdvError, match="the model gives a label alone: take one of hopskipjump, noise"):
            create_attack(name)(model, tone(0.3), Target(torch.tensor([0])), parse_budget("snr:5"), generators=GENERATOR())


def test_an_attack_counts_its_queries(program):
    model = load_model(program("label", "labels=loud,quiet&queries=60"))
    quiet = tone(0.06)
    result = create_attack("hopskipjump", queries=20, samples=2)(model, quiet, Misclassify(torch.tensor([1])), parse_budget("linf:0.1"), generators=GENERATOR().manual_seed(0))
    assert result.queries.item() <= 20 and model.spent == program.asked() <= 23


def test_the_query_budget_is_never_exceeded(program):
    model = load_model(program("scores", "queries=4"))
    with pytest.raises(SpeechAdvError, match="all 4 queries are used up"):
        model(torch.cat([tone(0.01 * k) for k in range(1, 9)]))
    with pytest.raises(SpeechAdvError, match="all 4 queries are used up"):
        model(tone(0.5))
    assert program.asked() == model.spent == 4


def test_retries_count_too(program):
    with pytest.raises(SpeechAdvError, match="all 2 queries are used up"):
        load_model(program("fails", "retries=5&queries=2"))
    assert program.asked() == 2


@pytest.mark.parametrize(("ending", "settings", "message"), [
    ("nonsense", "", "as the answer, got <html>"), ("other", "labels=yes,no", "answers with the label 'banana', expected one of yes, no"),
    ("other", "labels=banana,banana", "expected different labels"), ("nan", "", "as the answer, got"), ("nothing", "", "got nothing"),
    ("partial", "labels=loud,quiet", "without a score for 'quiet'"), ("fails", "retries=1", "no answer in 2 tries: the command ended with status 3"),
    ("sleeps", "timeout=0.7&retries=0", "no answer in 1 tries: no answer within 0.7 s"), ("floods", "", "at most 1048576 bytes"),
    ("scores", "query=3", "unknown key 'query', did you mean 'queries'"), ("scores", "queries=0", "queries: expected 1 or more"),
    ("scores", "timeout=-1", "timeout: expected seconds"), ("scores", "per_second=nan", "per_second: expected a finite"), ("scores", "retries=many", "retries: expected a whole number"),
])
def test_what_goes_wrong_is_one_line(ending, settings, message, program):
    started = time.monotonic()
    with pytest.raises(SpeechAdvError, match=message) as problem:
        load_model(program(ending, settings))
    assert "\n" not in str(problem.value) and time.monotonic() - started < 10


@pytest.mark.parametrize(("word", "message"), [
    ("command:./recognise", "expected a command with {wav}"), ("command:{wav}", "expected a command with {wav}"), ("command:", "expected a command"),
    ("command:'./recognise {wav}", "its quotes do not match"), ("command:./there-is-no-such-program {wav}", "cannot run './there-is-no-such-program'"),
    ("http://192.0.2.1.example/x", "expected https://"), ("http://", "expected http://HOST"), ("http://a:b@127.0.0.1/", "without a user name"),
    ("http://127.0.0.1:99999/", "expected an address"), ("http://127.0.0.1/a b", "printable ASCII"), ("http://127.0.0.1:1/x#retries=0", "no answer in 1 tries: ConnectionRefused"),
])
def test_words_that_cannot_be_asked(word, message):
    with pytest.raises(SpeechAdvError, match=message):
        load_model(word)


def test_no_shell_runs_the_command(program, tmp_path):
    word = program("scores").replace("{wav}", "$(touch exploded) ';' {wav}")
    assert load_model(word).labels == ("loud", "quiet") and not (tmp_path / "exploded").exists()


def test_answers_of_two_kinds_are_refused(program):
    model = load_model(program("wavers", "labels=loud,quiet"))
    with pytest.raises(SpeechAdvError, match="sometimes with scores and sometimes with a label"):
        model(tone(0.01))


def test_an_address(server):
    server.reply = scores
    model = load_model(server.address + "?key=1#queries=9")
    assert model(torch.cat([tone(0.9), tone(0.1)])).argmax(1).tolist() == [0, 1]
    assert server.headers["Content-Type"] == "audio/wav" and server.asked == model.spent == 3


@pytest.mark.parametrize("body", ['{"labels": ["a", "b"], "scores": [3, -1.5]}', '{"scores": {"a": 3, "b": -1.5}}',
                                  '[{"label": "a", "score": 3}, {"label": "b", "score": -1.5}]'])
def test_forms_of_an_answer(body, server):
    server.reply = lambda wav, number: (200, body)
    model = load_model(server.address)
    assert model.labels == ("a", "b") and model(tone(0.1)).tolist() == [[3, -1.5]]


@pytest.mark.parametrize("body", ['"b"', "b\n", '{"label": "b", "confidence": 1}'])
def test_forms_of_a_label(body, server):
    server.reply = lambda wav, number: (200, body)
    assert load_model(server.address, labels=["a", "b"])(tone(0.1)).argmax(1).tolist() == [1]


def test_a_busy_server_is_asked_again(server):
    server.reply = lambda wav, number: scores(wav, number) if number % 3 == 0 else (503, "busy")
    model = load_model(server.address)
    model(tone(0.2))
    assert server.asked == model.spent == 6


@pytest.mark.parametrize(("reply", "message"), [
    (lambda wav, number: (500, "oh"), "no answer in 2 tries: the server answers with status 500"), (lambda wav, number: (404, "oh"), "status 200, the server answers with 404"),
    (lambda wav, number: (302, "oh"), "the server answers with 302"), (lambda wav, number: (200, "{}"), "as the answer, got {}"),
    (lambda wav, number: (200, '{"labels": ["a"], "scores": [1, 2]}'), "as the answer"), (lambda wav, number: (200, "[" * 100000), "as the answer"),
    (lambda wav, number: (200, '[{"label": 3, "score": 1}]'), "as the answer"), (lambda wav, number: (None, ""), "no answer in 2 tries"),
    (lambda wav, number: (200, "x" * 2_000_000), "at most 1048576 bytes"), (lambda wav, number: (time.sleep(3), (200, ""))[1], "no answer within 0.5 s"),
    (lambda wav, number: (200, (time.sleep(0.2) or "x" for _ in range(15))), "no answer within 0.5 s"),
])
def test_bad_servers(reply, message, server):
    server.reply = reply
    started = time.monotonic()
    with pytest.raises(SpeechAdvError, match=message):
        load_model(server.address + "#retries=1&timeout=0.5")
    assert time.monotonic() - started < 4


def test_the_rate_is_held(server):
    server.reply = scores
    started = time.monotonic()
    load_model(server.address + "#per_second=20")(torch.cat([tone(0.1 * k) for k in range(1, 7)]))
    assert server.asked == 7 and time.monotonic() - started >= 6 / 20


def test_commands_warn_and_offer_only_what_fits(program, run, write_clip, tmp_path):
    clip = write_clip(tmp_path / "yes.wav")
    word = program("scores", "queries=200")
    status, printed, err = run("classify", clip, "--model", word)
    assert status == 0 and "loud" in printed and "allowed to test" in err
    status, printed, err = run("attack", clip, "--untargeted", "--budget", "snr:5", "--out", tmp_path / "out", "--model", word, "--quiet")
    assert status == 2 and "attack PGD needs the gradient, the model gives scores and no gradient: take one of" in err and not (tmp_path / "out").exists()
    status, printed, err = run("attack", clip, "--untargeted", "--budget", "snr:5", "--attack", "square", "--set", "queries=500", "--out", tmp_path / "out", "--model", word)
    assert status == 2 and "allows 198 more queries" in err and not (tmp_path / "out").exists()
    status, printed, err = run("attack", clip, "--untargeted", "--budget", "linf:0.001", "--attack", "square", "--set", "queries=5", "--out", tmp_path / "out", "--model", word)
    assert status == 0 and (tmp_path / "out" / "yes.adversarial.wav").exists(), err


def test_an_evaluation_of_a_black_box(program, run, data_root, tmp_path):
    config = tmp_path / "grid.toml"
    (tmp_path / "words.py").write_text('print("yes")')
    word = program("label").replace("label.py", "words.py") + "#labels=yes,no&queries=40"
    config.write_text(f'models = ["{word}"]\ntask = ["yes", "no"]\ndata = ["{data_root}"]\nbudgets = ["snr:20"]\nclips = 2\nattacks = [{{name = "noise", draws = 2}}]\n')
    status, printed, err = run("evaluate", config, "--out", tmp_path / "out", "--workers", 2)
    assert status == 2 and "--workers 2: the queries of" in err and not (tmp_path / "out").exists()
    status, printed, err = run("evaluate", config, "--out", tmp_path / "out")
    assert status == 0 and "black-box" in printed and "zero_gradients" not in err, err
    status, printed, err = run("evaluate", config, "--out", tmp_path / "out2", "--set", 'attacks=["pgd"]')
    assert status == 2 and "the model gives a label alone" in err
