"""Parts of a run, made apart and put together."""
import json
import shutil

import pytest

from speechadv.errors import ConfigError, InputError
from speechadv.evaluation import rows as row_files
from speechadv.evaluation.certification import CertificationConfig, certify
from speechadv.evaluation.merge import merge
from speechadv.evaluation.run import evaluate
from speechadv.evaluation.shards import WHOLE, Shard, parse_shard
from speechadv.evaluation.verify import verify


@pytest.fixture(scope="module")
def parts(settings, finished, tmp_path_factory):
    """The run of `finished` in two parts that know nothing of each other."""
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speechadv.report.page.write_page", lambda run: None)
        for number in (1, 2):
            evaluate(settings(batch_size=4 - number), folder / str(number), shard=Shard(number, 2))
            shutil.copy(finished / "environment.json", folder / str(number))  # which names the code's revision: there may be a newer one
    return folder / "1", folder / "2"


@pytest.fixture
def pair(parts, tmp_path):
    """Copies of them, to be changed."""
    return [shutil.copytree(part, tmp_path / part.name) for part in parts]


def test_a_merged_run_is_the_undivided_one_to_the_byte(parts, finished, tmp_path, files):
    merge(parts, tmp_path / "finished")  # the page shows the folder's name
    assert files(tmp_path / "finished") == files(finished)
    verdict = verify(tmp_path / "finished")
    assert verdict.same and verdict.scored == verdict.rows > 0, verdict.differences


def test_a_part_says_that_it_is_one(parts, settings):
    assert "not finished" in (parts[0] / "table.md").read_text()
    clips = [{row["clip"] for row in row_files.read_finished(part / "rows.jsonl")} for part in parts]
    assert sorted(map(len, clips)) == [2, 3] and not clips[0] & clips[1]


def test_a_part_can_be_gone_on_with(pair, settings, finished, no_page, files):
    """As the other part, or as the whole: the folder is that of one run."""
    evaluate(settings(), pair[0], shard=Shard(2, 2))
    for name in ("rows.jsonl", "table.csv", "result.json"):
        assert (pair[0] / name).read_bytes() == (finished / name).read_bytes()


def test_rows_that_several_runs_hold_are_taken_once(pair, finished, no_page, tmp_path):
    merge([pair[1], *pair, pair[1]], tmp_path / "out")
    merge([pair[0]], tmp_path / "out")  # into what is there: nothing is lost
    assert (tmp_path / "out/rows.jsonl").read_bytes() == (finished / "rows.jsonl").read_bytes()


def change_rows(run, **values):
    rows = row_files.read_finished(run / "rows.jsonl")
    row_files.rewrite(run / "rows.jsonl", [rows[0] | values, *rows[1:]])


def change_environment(run, part, key, value):
    about = json.loads((run / "environment.json").read_bytes())
    about[part][key] = value
    (run / "environment.json").write_text(json.dumps(about))


def test_what_does_not_belong_together_is_refused(pair, tmp_path, finished):
    first, second = pair
    config = (second / "config.toml").read_text()
    faults = [
        (lambda: (second / "config.toml").write_text(config.replace("steps = 4", "steps = 5")), "another config.*'attacks' differs"),
        (lambda: change_environment(second, "clips", "sha256", "0" * 64), "other clips.*'sha256' differs"),
        (lambda: change_environment(second, "models", "x", "0" * 64), "other weights of its models.*'x' differs"),
        (lambda: (second / "environment.json").unlink(), "no environment.json"),
        (lambda: next((second / "audio").rglob("*.wav")).unlink(), "which is in none of them"),
        (lambda: (second / "probes.json").write_text("[]"), "models answered otherwise"),
        (lambda: (second / "rows.jsonl").unlink(), "there is no rows.jsonl"),
        (lambda: change_rows(second, attack="pgd steps=9"), "has no cell .*pgd steps=9"),
    ]
    for spoil, message in faults:
        shutil.rmtree(second)
        shutil.copytree(finished, second)
        spoil()
        with pytest.raises(InputError, match=message) as problem:
            merge(pair, tmp_path / "out")
        assert len(str(problem.value).splitlines()) == 1 and not (tmp_path / "out").exists()


def test_rows_and_files_that_contradict_are_refused(pair, finished, tmp_path):
    whole = shutil.copytree(finished, tmp_path / "whole")
    change_rows(whole, passes=123456)
    with pytest.raises(InputError, match="contradicts another run.*'passes' is"):
        merge([*pair, whole], tmp_path / "out")
    shutil.copy(finished / "rows.jsonl", whole / "rows.jsonl")
    file = next((whole / "audio/clean").rglob("*.wav"))
    file.write_bytes(file.read_bytes()[:-2] + b"\1\1")
    with pytest.raises(InputError, match="its content is another"):
        merge([*pair, whole], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_certificates(tiny_weights, data_root, tmp_path, files, run):
    config = CertificationConfig(model=str(tiny_weights), n=30, n0=5, sigma=0.01, task=["yes", "no", "stop"], clips=3, data=[str(data_root)])
    certify(config, tmp_path / "whole")
    for number in (1, 2):
        certify(config, tmp_path / str(number), shard=Shard(number, 2))
    merge([tmp_path / "2", tmp_path / "1"], tmp_path / "merged")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")
    assert "not finished" not in run("merge", tmp_path / "2", tmp_path / "1", "--out", tmp_path / "again")[2]
    assert "the run is not finished: 2 of 3 clips have a certificate" in run("merge", tmp_path / "1", "--out", tmp_path / "half")[2]
    with pytest.raises(ConfigError, match="there are 3 clips"):
        certify(config, tmp_path / "9", shard=Shard(9, 9))


def test_the_command(parts, run, tmp_path, no_page):
    status, out, err = run("merge", *parts, "--out", tmp_path / "out")
    assert status == 0 and "bandpass:200-3000" in out and "speechadv verify" in err
    status, out, err = run("merge", parts[0], "--out", tmp_path / "half", "--json")
    assert status == 0 and json.loads(out)["finished"] is False and "not finished" in err


def test_words():
    assert parse_shard(None) == WHOLE and parse_shard("2/8") == Shard(2, 8) and Shard(2, 3).of("abcdefg") == "be"
    for word in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", ""):
        with pytest.raises(ConfigError, match="expected I/N"):
            parse_shard(word)
