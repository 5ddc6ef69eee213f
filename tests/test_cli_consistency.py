"""One name per idea on the command line; options from files and the environment; slips of the keys."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import typer

from maskwatch import onnx_session
from maskwatch.cli.app import app
from maskwatch.cli.options import DEVICES
from maskwatch.cli.settings import settable, variable_of, walk
from maskwatch.cli.terminal import progress_bar
from maskwatch.files import name_key, portable_name
from tests.commands import COMMAND, ENVIRONMENT, run

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {words: one for words, one in walk(typer.main.get_command(app)) if not hasattr(one, "commands")}

DIFFERENT = {
    "output": "a file, a folder or an address, as the command makes one",
    "patience": "epochs without gain, of train",
    "timeout": "of a camera or receiver for doctor, of a request for serve",
    "threads": "of PyTorch, for train-detector",
    "events": "video writes a file, serve reads a database",
    "json": "video writes a line a frame and a person",
    "annotated": "video takes --no-video too",
    "workers": "batch takes auto as a word",
    "max-side": "a photo's is chosen by what is found, unless it is named",
    "size": "export takes it from the file where it can",
}
"""Options whose meaning, form or short name differs between commands, and why."""
NO_JSON = {
    ("live",): "events go to --sink",
    ("watch",): "events go to the sinks of the file",
    ("serve",): "the HTTP interface speaks JSON",
}


def looks(option: object) -> tuple[object, ...]:
    return (
        sorted((*option.opts, *option.secondary_opts)),
        option.metavar,
        option.is_flag,
        option.multiple,
        option.help,
    )


def test_an_option_is_the_same_on_every_command():
    uses: dict[str, list] = {}
    for words, command in COMMANDS.items():
        for key, option in settable(command).items():
            uses.setdefault(key, []).append((words, looks(option)))
    for key, found in uses.items():
        same = all(one == found[0][1] for _, one in found)
        assert same or key in DIFFERENT, (key, found)
        assert not (same and key in DIFFERENT and len(found) > 1), f"{key} is no exception any more"


def test_no_name_stands_for_two_ideas():
    """An alias of one option is nowhere the first name of another."""
    firsts = {key for command in COMMANDS.values() for key in settable(command)}
    for words, command in COMMANDS.items():
        for key, option in settable(command).items():
            aliases = {name.lstrip("-") for name in option.opts if name.startswith("--")} - {key}
            allowed = {"model"} if words == ("train",) else set()  # the tutorial's name
            allowed |= {"patience"} if words == ("doctor",) else set()  # its name in the first versions
            assert not (aliases & firsts) - allowed, (words, key, aliases)


def test_short_names_mean_one_thing():
    shorts: dict[str, set] = {}
    for command in COMMANDS.values():
        for key, option in settable(command).items():
            for name in option.opts:
                if not name.startswith("--"):
                    shorts.setdefault(name, set()).add(key)
    assert shorts == {"-o": {"output"}, "-q": {"quiet"}, "-p": {"plot"}, "-m": {"keras-file"}}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_can_be_quiet_and_speak_json(words):
    options = settable(COMMANDS[words])
    assert "quiet" in options
    assert ("json" in options) != (words in NO_JSON)
    assert all(option.help for option in options.values())


def test_the_page_of_options_is_new():
    place = ROOT / "docs" / "_site" / "flags.py"
    spec = importlib.util.spec_from_file_location("flags", place)
    flags = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flags)
    assert flags.PAGE.read_text(encoding="utf-8") == flags.page(), "run python docs/_site/flags.py"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["imgae", "x.jpg"], "image"),
        (["image", "x.jpg", "--scroe-threshold", "1"], "--score-threshold"),
        (["data", "synthesise"], "synthesize"),
        (["image", "x.jpg", "--model", "smal"], "did you mean 'small'"),
        (["image", "x.jpg", "--device", "cdua"], "did you mean 'cuda'"),
        (["data", "convert", ".", "--from", "yollo"], "did you mean 'yolo'"),
        (["data", "check", ".", "--label", "n95=with_maks"], "did you mean 'with_mask'"),
    ],
)
def test_a_slip_of_the_keys(tmp_path, words, meant):
    (tmp_path / "one.txt").write_text("0 0.5 0.5 0.1 0.1\n")  # a labelled folder, by its looks
    done = run(*words, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert meant in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_beside_the_one_named(tmp_path):
    (tmp_path / "people.jpg").write_bytes(b"")
    (tmp_path / "clip.mp4").write_bytes(b"")
    assert "did you mean 'people.jpg'?" in run("image", tmp_path / "poeple.jpg").stderr
    assert "did you mean 'clip.mp4'?" in run("video", tmp_path / "clpi.mp4").stderr


def told(tmp_path: Path, text: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "maskwatch.toml").write_text(text)
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, **environment},
        timeout=120,
    )


PEOPLE = ROOT / "examples" / "people.jpg"


def faces(done: subprocess.CompletedProcess[str]) -> int:
    return len(json.loads(done.stdout)["images"][0]["faces"])


def test_flag_before_environment_before_file_before_default(tmp_path):
    image = ["image", PEOPLE, "--json", "-", "--no-annotated", "-q"]
    file = "[defaults]\nscore-threshold = 1\n[image]\nscore_threshold = 0.999\n"
    assert faces(told(tmp_path, "", *image)) == 4
    assert faces(told(tmp_path, file, *image)) == 0
    assert faces(told(tmp_path, file.split("[image]", maxsplit=1)[0], *image)) == 0
    assert faces(told(tmp_path, file, *image, MASKWATCH_IMAGE_SCORE_THRESHOLD="0.3")) == 4
    assert faces(told(tmp_path, "", *image, MASKWATCH_IMAGE_SCORE_THRESHOLD="0.999")) == 0
    assert faces(told(tmp_path, "", *image, "--score", "0.3", MASKWATCH_IMAGE_SCORE_THRESHOLD="0.999")) == 4
    assert faces(told(tmp_path, file, *image, MASKWATCH_CONFIG="")) == 4
    other = tmp_path / "other.toml"
    other.write_text("[image]\nscore = 0.1\n")
    done = told(tmp_path, file, "--config", other, *image)
    assert done.returncode == 2
    assert "did you mean 'score-threshold'?" in done.stderr


def test_switches_and_lists_in_the_file(tmp_path):
    text = '[image]\nannotated = false\njson = "out.json"\n[data.check]\nlabel = ["a=with_mask"]\n'
    done = told(tmp_path, text, "image", PEOPLE)
    assert done.returncode == 0, done.stderr
    assert "options of maskwatch.toml" in done.stderr
    assert (tmp_path / "out.json").is_file()
    assert not (tmp_path / "maskwatch-out").exists()
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "one.jpg").write_bytes(PEOPLE.read_bytes())
    assert told(tmp_path, text, "data", "check", "set").returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[image]\nscroe-threshold = 1\n",
            "[image] has no option scroe-threshold; did you mean 'score-threshold'?",
        ),
        ("[imgae]\nblur = true\n", "no command has a table [imgae]; did you mean 'image'?"),
        ("[data.crosp]\nmargin = 1\n", "no command has a table [data.crosp]; did you mean 'data crops'?"),
        ("image = 3\n", "image must be a table"),
        ("[image]\nmax-side = 2.5\n", "[image] max-side: not what --max-side takes; write PX"),
        ("[image]\nblur = 1\n", "[image] blur: not what --blur takes; write true or false"),
        ("[image]\nmodel = ['a', 'b']\n", "[image] model: not what --model takes"),
        ("[image]\nmax-side = 's3cret'\n", "[image] max-side: not what --max-side takes"),
        ("[image]\nmodel = '${NOT_THERE}'\n", "the environment has no variable NOT_THERE"),
        ("[image\n", "no TOML file"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, text, words):
    done = told(tmp_path, text, "image", PEOPLE)
    assert done.returncode == 2
    assert words in done.stderr
    assert "s3cret" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert told(tmp_path, text, "image", "--help").returncode == 0


def test_secrets_of_the_file_are_not_shown(tmp_path):
    text = '[live]\nsink = ["postgresql://me:s3cret@127.0.0.1:1/x"]\n'
    helped = told(tmp_path, text, "live", "--help")
    assert "s3cret" not in helped.stdout + helped.stderr
    done = told(tmp_path, text, "live", "nothing.mp4", "--no-page", "--duration", "0.5", "-v")
    assert "live sinks" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_verbose_says_where_an_error_was_raised(tmp_path):
    for words in (["-v", "image", "x.jpg", "--model", "none"], ["image", "x.jpg", "--model", "none", "-v"]):
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 1
        assert "ModelError, raised at" in done.stderr
        assert "detector.py" in done.stderr
    assert "raised at" not in run("image", "x.jpg", "--model", "none", cwd=tmp_path).stderr


def test_names_in_the_environment():
    assert variable_of(("data", "crops"), "least-px") == "MASKWATCH_DATA_CROPS_LEAST_PX"
    names = [variable_of(words, key) for words, one in COMMANDS.items() for key in settable(one)]
    assert len(names) == len(set(names))
    assert not {"MASKWATCH_CONFIG", "MASKWATCH_API_KEY"} & set(names)


def test_output_that_is_no_terminal_holds_nothing_that_steers_one(tmp_path):
    done = run("image", PEOPLE, "--json", "-", "-o", tmp_path)
    assert json.loads(done.stdout)["summary"]
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("a:b?.jpg", "a_b_.jpg"),
        ("12:30 \\ door.png", "12_30 _ door.png"),
        ("CON", "CON_"),
        ("nul.jpg", "nul_.jpg"),
        ("console.jpg", "console.jpg"),
        ("dots...", "dots___"),
        ("é.jpg", "é.jpg"),
    ],
)
def test_names_that_other_systems_can_have(name, safe):
    assert portable_name(name) == safe
    assert portable_name(safe) == safe


def test_copies_have_such_names(tmp_path):
    """Also where two names are one elsewhere: the same letters, composed or not."""
    for name in ("nul.jpg", "a:b.jpg", "\u00e9.jpg", "e\u0301.jpg"):
        (tmp_path / name).write_bytes(PEOPLE.read_bytes())
    done = run("image", tmp_path, "-o", tmp_path / "out", "--save-crops", "-q")
    assert done.returncode == 0, done.stderr
    names = [path.name for path in (tmp_path / "out").rglob("*.jpg")]
    assert {"nul_.jpg", "a_b.jpg"} <= set(names)
    assert all(portable_name(name) == name for name in names)
    assert len({name_key(name) for name in names}) == 4 + 4 * 4


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (True, True), (False, False)])
def test_a_bar_is_for_terminals(terminal, quiet):
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80)
    with progress_bar(console, quiet=quiet) as bar:
        for _ in bar.track(range(3), description="[red]a.mp4"):
            pass
    if terminal and not quiet:
        assert "[red]a.mp4" in out.getvalue(), "a name is no markup"
        assert "3/3" in out.getvalue()
    else:
        assert out.getvalue() == ""


def test_json_of_doctor_and_data(tmp_path):
    done = run("doctor", "--json", "-")
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0)
    assert {"detector", "picture decoders"} <= {check["subject"] for check in report["checks"]}
    assert run("doctor", "-q").stdout == ""
    made = json.loads(run("data", "crops", PEOPLE, "-o", tmp_path / "crops", "--json", "-").stdout)
    assert sum(made["faces"].values()) == 4


def test_json_is_all_that_standard_output_gets(tmp_path):
    """From faces to crops, labels and figures; each command's result is one document."""

    def said(*words: object) -> dict:
        done = run(*words, "--json", "-", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    crops = said("data", "crops", PEOPLE, "-o", "crops", "--margin", "1")["faces"]
    assert said("data", "check", "crops")["classes"]
    labelled = said("data", "label", "crops", "-o", "labelled")
    assert labelled["pictures"] + labelled["without_one_clear_face"] == sum(crops.values())
    for name in ("with_mask", "without_mask"):
        (tmp_path / "noise" / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.random.default_rng(len(name) * 100 + number).integers(0, 255, (8, 8, 3), np.uint8)
            PIL.Image.fromarray(pixels).resize((64, 64)).save(tmp_path / "noise" / name / f"{number}.png")
    halves = said("data", "split", "noise", "-o", "halves", "--share", "0.5")["pictures"]
    assert sum(halves.values()) == 12
    assert said("data", "convert", "labelled", "-o", "coco")["faces"] == labelled["pictures"]
    assert said("evaluate", "labelled")["model"]["name"] == "maskwatch-small"
    assert said("export", "--web", "site")["files"]
    assert said("batch", PEOPLE, "-o", "rows", "--local", "--workers", "1")["summary"]["faces"] == 4
    written = tmp_path / "figures.json"
    assert run("evaluate", "labelled", "--json", written, "-q", cwd=tmp_path).stdout == ""
    assert json.loads(written.read_text())["data"] == "labelled"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["im"], {"image"}),
        (["data", "s"], {"synthesize", "split"}),
        (["image", "--sc"], {"--score-threshold", "--score"}),
        (["image", "--model", "sm"], {"small"}),
        (["live", "--device", "c"], {"cpu", "cuda", "coreml"}),
    ],
)
def test_completion_in_bash(tmp_path, words, offered):
    """Also beside a file of options that cannot be used."""
    (tmp_path / "maskwatch.toml").write_text("[nonsense]\n")
    code = "import sys; sys.argv[0] = 'maskwatch'; from maskwatch.cli.app import main; main()"
    asked = {
        "COMP_WORDS": "\n".join(["maskwatch", *words]),
        "COMP_CWORD": str(len(words)),
        "_MASKWATCH_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, **asked},
        timeout=60,
    )
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""


def test_devices_that_completion_offers():
    assert set(DEVICES) == set(onnx_session.DEVICES)
