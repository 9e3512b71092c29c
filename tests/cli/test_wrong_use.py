"""Wrong use of the command line: errors in one line, found before the work."""

from __future__ import annotations

import subprocess
import sys

import keras
import pytest
from failing_commands import fails

import gfkeras
from gfkeras.cli import main

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the runtimes and exports need TensorFlow"
)


def test_help_and_version_do_not_load_keras():
    script = (
        "import sys; from gfkeras.cli import main\n"
        "assert main(['--version']) == 0 and main(['--help']) == 0 and main([]) == 0\n"
        "assert main(['train', '--help']) == 0\n"
        "assert not {'keras', 'tensorflow', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    run = subprocess.run(
        [sys.executable, "-m", "gfkeras", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"gfkeras {gfkeras.__version__}\n"


def test_missing_files_are_found_before_keras_is_imported(tmp_path):
    (tmp_path / "b.jpg").touch()
    script = (
        "import sys; from gfkeras.cli import main\n"
        "for command in (\n"
        "    'compare none.jpg b.jpg', 'embed none.jpg --out e.npz', 'enroll none faces.gallery',\n"
        "    'search none.jpg faces.gallery', 'search b.jpg faces.gallery',\n"
        "    'cluster none.jpg --out c', 'verify none.tflite m --data none',\n"
        "    'bench none.tflite', 'gallery list faces.gallery',\n"
        "):\n"
        "    assert main(command.split()) == 2\n"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("\n") == run.stderr.count("gfkeras: error: ") == 9
    assert [path.name for path in tmp_path.iterdir()] == ["b.jpg"]


def test_an_error_is_one_line_even_in_a_fresh_process(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "gfkeras", "train", "orll", "--data", "a", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("gfkeras: error: Unknown recipe 'orll'; did you mean 'orl'")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'RECIPE'"),
        (["train", "orl", "--out", "x"], "Missing option '--data'"),
        (["train", "orl", "--data", "missing-folder", "--out", "x"], "does not exist"),
        (["train", "orl", "--data", ".", "--out", "x", "--set", "seed"], "a.b=value"),
        (["bench", "no-such-model"], "no-such-model"),
        (["evaluate", "m", "--data", "."], "`pairs` (--pairs) must be a pairs file"),
        (
            ["evaluate", "m", "--data", ".", "--protocol", "ijb", "--pairs", "all"],
            "`pairs` requires `protocol` (--protocol) pairs or facenet",
        ),
        (["evaluate", "m", "--data", ".", "--pairs", "all", "--beta", "0.2"], "--group-aware"),
        (["evaluate", "m", "--data", ".", "--protocol", "ijbc"], "did you mean 'ijb'"),
        (["evaluate", "m", "--data", ".", "--protocol", "bin", "--tune", "p.txt"], "--tune-data"),
        (["compare", "a.jpg", "b.jpg", "--model", "m", "--picture", "a.gif"], ".png or .jpg"),
        (["evaluate", "m", "--data", ".", "--pairs", "none.txt"], "none.txt"),
        (["export", "m", "--format", "tflite"], "Missing option '--out'"),
        (["zoo", "import", __file__, "--out", "x"], "test_wrong_use"),
        (["zoo"], "Missing command"),
        # An unset variable of a shell. An empty path would be the current folder.
        (["cluster", ".", "--out", ""], "expected a value for `--out`"),
        (["cluster", ".", "--out="], "expected a value for `--out`"),
        (["compare", "", "b.jpg"], "expected no empty argument"),
    ],
)
def test_wrong_use(capfd, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capfd, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "h_groupface_mobilefacenet", "--format", "tflite", "--out"],
        ["enroll", "."],
        ["cluster", ".", "--out"],
        ["embed", ".", "--out"],
        ["train", "orl", "--data", ".", "--out"],
        ["prepare", "."],
        ["zoo", "list", "--json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_output_that_cannot_be_written_is_found_before_the_work(
    capfd, tmp_path, monkeypatch, arguments
):
    (tmp_path / "file").write_text("kept")
    monkeypatch.chdir(tmp_path)
    assert "Not a directory" in fails(capfd, *arguments, "file/result")
    assert (tmp_path / "file").read_text() == "kept"


def test_debug_shows_where_an_error_came_from(monkeypatch):
    monkeypatch.setenv("GFKERAS_DEBUG", "1")
    with pytest.raises(ValueError, match="Unknown recipe"):
        main(["train", "nothing-like-it", "--data", ".", "--out", "x"])
