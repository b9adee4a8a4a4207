"""Memory that does not suffice: fewer clips at a time where that changes nothing, one line where it would. `evaluate`: tests/evaluation/test_run.py."""
import pytest
import tomli_w


def greedy(real, most):
    """A function that does with at most so many things what another one does."""
    def call(first, things, *others):
        if len(things) > most:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes.")
        return real(first, things, *others)

    return call


def test_attack_goes_on_with_fewer_clips(write_clip, run, tiny_weights, tmp_path, monkeypatch):
    """The same verdicts: products of another number of rows may round single samples otherwise (docs/methodology.md)."""
    from speechadv.cli import attacking
    from speechadv.evaluation.rows import read

    files = [write_clip(tmp_path / f"{seed}.wav", seed=seed) for seed in range(4)]
    arguments = ("attack", *files, "--untargeted", "--budget", "snr:20", "--steps", "2", "--model", tiny_weights, "--out")
    assert run(*arguments, tmp_path / "enough")[0] == 0
    real = attacking.save
    monkeypatch.setattr(attacking, "save", greedy(real, 2))
    status, _, err = run(*arguments, tmp_path / "little")
    assert status == 0 and "out of memory with 4 clips at a time: going on with 2" in err
    enough, little = (read(tmp_path / out / "rows.jsonl")[0] for out in ("enough", "little"))
    assert [(row["clip"], row["reached"], row["passes"]) for row in little] == [(row["clip"], row["reached"], row["passes"]) for row in enough]
    monkeypatch.setattr(attacking, "save", greedy(real, 1))
    status, _, err = run(*arguments, tmp_path / "single")
    assert status == 0 and "with 2 clips at a time: going on with 1" in err and (tmp_path / "single" / "0.adversarial.wav").exists()
    monkeypatch.setattr(attacking, "save", greedy(real, 0))
    status, _, err = run(*arguments, tmp_path / "none")
    assert status == 2 and "out of memory with a single clip" in err


@pytest.mark.parametrize("place, told", [("speechadv.training.loop.Trainer.one_epoch", "with batch_size 8; what is finished is kept, a smaller batch_size is another run"),
                                         ("speechadv.training.run.gather", "out of memory; what is finished is kept")])
def test_anywhere_else_it_is_one_line(place, told, data_root, run, tmp_path, monkeypatch):
    def full(*arguments):
        raise MemoryError

    monkeypatch.setattr(place, full)
    config = {"name": "small", "task": ["yes", "no"], "model": "tc_resnet8", "data": [str(data_root)], "epochs": 1, "batch_size": 8, "model_options": {"widths": [6, 8], "n_mels": 16}}
    (tmp_path / "config.toml").write_text(tomli_w.dumps(config))
    status, _, err = run("train", tmp_path / "config.toml", "--out", tmp_path / "out", "--quiet")
    assert status == 2 and told in err and err.count("\n") == 1
