"""Pooled listening tests: exact chances, honest refusals."""
import json
from math import comb

import pytest

from speechadv.errors import InputError
from speechadv.report.abx import pooled, read_listener

HEAD = "trial,a,b,x,answer,correct"


def write(path, right, wrong):
    """A listener with so many right and wrong answers."""
    lines = [f"{i},clean.wav,\"odd, name.wav\",a,{'a' if i <= right else 'b'},{'true' if i <= right else 'false'}" for i in range(1, right + wrong + 1)]
    path.write_bytes("\r\n".join([HEAD, *lines, ""]).encode())
    return path


def test_pooled_figures_are_exact(tmp_path, run):
    files = [write(tmp_path / "anna.csv", 9, 3), write(tmp_path / "ben.csv", 12, 4)]
    status, printed, err = run("abx-summary", *files, "--json")
    result = json.loads(printed)
    assert (status, err) == (0, "")
    assert [(line["correct"], line["trials"]) for line in result["listeners"]] == [(9, 12), (12, 16)]
    assert result["listeners"][0]["p"] == sum(comb(12, k) for k in range(9, 13)) / 2**12
    assert result["pooled"]["p"] == pytest.approx(sum(comb(28, k) for k in range(21, 29)) / 2**28)
    assert result["pooled"]["share_low"] < 0.75 == result["pooled"]["share"] < result["pooled"]["share_high"]
    status, printed, err = run("abx-summary", *files)
    assert status == 0 and "together (2 listeners): 21 of 28 right, 75 % [57, 87], p = 0.0063" in printed


def test_few_trials_are_said(tmp_path, run):
    assert "only 5 trials" in run("abx-summary", write(tmp_path / "short.csv", 3, 2))[2]


@pytest.mark.parametrize("content, message", [
    ("", "there is no trial"), (f"{HEAD}\n", "expected trials"), ("trial,a,b,x,answer\n1,a,b,a,a\n", "there is no correct"),
    (f"{HEAD}\n1,c,d,a,a,false\n", "line 2: x is 'a', the answer 'a', and correct says false"), (f"{HEAD}\n1,c,d,a,b,yes\n", "expected true or false, got 'yes'"),
    (f"{HEAD}\n1,c,d,a,a,true\n1,c,d,a,a,true\n", "trial 1 stands there twice"), (f"{HEAD}\n1,c,d\n", "as many fields"), (f"{HEAD}\n1,c,d,a,a,true,x\n", "as many fields"),
    (f"{HEAD}\n1,c,d,,,true\n", "x is ''"), (f'{HEAD}\n1,"c', "expected CSV")])
def test_what_contradicts_itself_is_refused(tmp_path, content, message):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_listener(tmp_path / "x.csv")


def test_other_files_are_refused(tmp_path, run):
    (tmp_path / "sound.wav").write_bytes(b"RIFF\xff\xfe\x00")
    for name in ("sound.wav", "missing.csv", "."):
        assert run("abx-summary", tmp_path / name)[0] == 2
    one = write(tmp_path / "one.csv", 9, 3)
    (tmp_path / "copy.csv").write_bytes(one.read_bytes())
    assert "each listener counts once" in run("abx-summary", one, tmp_path / "copy.csv")[2]


def test_order_of_columns_and_numbers_for_verdicts(tmp_path):
    (tmp_path / "x.csv").write_text("correct,answer,x,b,a,trial\n1,A,a,d,c,1\n0,B,a,d,c,2\n", encoding="utf-8-sig")
    listener = read_listener(tmp_path / "x.csv")
    assert listener.answers == (True, False) and pooled([listener])["pooled"]["correct"] == 1
