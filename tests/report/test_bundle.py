"""The bundle: complete, deterministic, nothing from outside the run, and it reproduces the table."""
import json
import os
import subprocess
import sys
import zipfile

import pytest


def test_an_unpacked_bundle_reproduces_the_table(run, saved_run, tmp_path):
    status, printed, err = run("bundle", saved_run, "--out", tmp_path / "deep" / "b.zip", "--json")
    assert (status, err) == (0, "")
    told = json.loads(printed)
    assert told["bytes"] == (tmp_path / "deep" / "b.zip").stat().st_size and told["audio_files"] > 0
    with zipfile.ZipFile(tmp_path / "deep" / "b.zip") as archive:
        assert archive.testzip() is None and len(archive.namelist()) == told["files"]
        archive.extractall(tmp_path / "un")
    (wheel,) = (tmp_path / "un" / "code").iterdir()
    readme = (tmp_path / "un" / "README.md").read_text("utf-8")
    assert f"pip install code/{wheel.name}" in readme and "bin/speechadv report run" in readme
    before = {name: (tmp_path / "un" / "run" / name).read_bytes() for name in ("table.csv", "table.md", "table.tex", "result.json")}
    for name in before:
        (tmp_path / "un" / "run" / name).unlink()
    # The code is that of the wheel, imported from the zip's own wheel as installed packages are.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = "import speechadv, sys; assert sys.argv[1] in speechadv.__file__; from speechadv.report.tables import write_tables; write_tables('run')"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "site")], cwd=tmp_path / "un", capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(tmp_path / "site")})
    assert done.returncode == 0, done.stderr
    assert {name: (tmp_path / "un" / "run" / name).read_bytes() for name in before} == before
    for path in (saved_run / "audio").rglob("*.wav"):
        assert (tmp_path / "un" / "run" / path.relative_to(saved_run)).read_bytes() == path.read_bytes()


def test_the_wheel_is_whole(run, saved_run, tmp_path):
    import speechadv

    run("bundle", saved_run, "--out", tmp_path / "b.zip", "--no-audio")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert not any(name.startswith("run/audio/") for name in archive.namelist())
        assert "write_tables('run')" in archive.read("README.md").decode("utf-8")
        (name,) = (name for name in archive.namelist() if name.endswith(".whl"))
        (tmp_path / "w.whl").write_bytes(archive.read(name))
    with zipfile.ZipFile(tmp_path / "w.whl") as wheel:
        names, info = wheel.namelist(), f"speechadv-{speechadv.__version__}.dist-info"
        listed = [line.rsplit(",", 2)[0] for line in wheel.read(f"{info}/RECORD").decode().splitlines()]
        assert sorted(listed) == sorted(names) and {f"{info}/METADATA", f"{info}/WHEEL", f"{info}/entry_points.txt"} <= set(names)
        assert b"Theory" in wheel.read("speechadv/report/templates/theory.md") and not any("__pycache__" in name for name in names)


def test_the_same_files_give_the_same_bytes(run, saved_run, tmp_path):
    for name in ("a.zip", "b.zip"):
        assert run("bundle", saved_run, "--out", tmp_path / name)[0] == 0
        for path in saved_run.rglob("*.wav"):
            os.utime(path, (0, 0))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("where", ["secret.txt", "audio/secret.wav", "figures", "audio/folder", "audio/circle"])
def test_links_out_of_the_run_are_refused(run, make_run, tmp_path, where):
    folder, outside = make_run(), tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not yours")
    target = {"secret.txt": outside / "secret", "audio/secret.wav": outside / "secret", "audio/circle": folder / "audio"}.get(where, outside)
    (folder / where).symlink_to(target)
    status, printed, err = run("bundle", folder, "--out", tmp_path / "b.zip")
    assert status == 2 and printed == "" and "link" in err and where.rpartition("/")[2] in err
    assert not (tmp_path / "b.zip").exists()


def test_a_link_within_the_run_is_its_content(run, make_run, tmp_path):
    folder = make_run()
    (folder / "notes.txt").symlink_to("table.md")
    assert run("bundle", folder, "--out", tmp_path / "b.zip")[0] == 0
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.read("run/notes.txt") == (folder / "table.md").read_bytes()


def test_what_is_no_file_is_refused(run, make_run, tmp_path):
    folder = make_run(sound=False)
    os.mkfifo(folder / "pipe.json")
    status, _, err = run("bundle", folder, "--out", tmp_path / "b.zip")
    assert status == 2 and "pipe.json" in err and not list(tmp_path.glob(".speechadv-*"))


def test_a_run_of_attack_brings_its_sound_and_its_own_command(run, write_clip, tmp_path, tiny_weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.wav")
    assert run("attack", "a.wav", "--untargeted", "--budget", "linf:0.005", "--model", tiny_weights, "--set", "steps=2", "--out", "made")[0] == 0
    status, printed, _ = run("bundle", "made", "--out", "b.zip", "--json")
    sounds = sorted(path.name for path in (tmp_path / "made").rglob("*.wav"))
    assert status == 0 and json.loads(printed)["audio_files"] == len(sounds) > 0
    with zipfile.ZipFile("b.zip") as archive:
        assert sorted(name.rpartition("/")[2] for name in archive.namelist() if name.endswith(".wav")) == sounds
        readme = archive.read("README.md").decode("utf-8")
        archive.extractall("un")
    assert "again/bin/speechadv attack --attack" in readme and "SPEECHADV_DATA" not in readme and "speechadv evaluate" not in readme
    assert run("report", "un/run")[0] == 0 and run("verify", "un/run")[0] == 0
