"""Settings: flags over variables over the file over defaults, each with its source."""

import pytest

from agent.cli.settings import SolveSettings, resolve
from sandbox.errors import InputError


def test_precedence_and_sources(tmp_path):
    (tmp_path / "runoff.toml").write_text('samples = 3\nturns = 3\nprefilter = "bm25:5"\ncontext-tokens = 7000\n')
    environment = {"RUNOFF_SAMPLES": "4", "RUNOFF_TURNS": "4", "UNRELATED": "1"}
    found = resolve({"samples": 5, "model": None}, environment, tmp_path)
    settings = found.settings
    assert (settings.samples, settings.turns, settings.prefilter, settings.context_tokens) == (5, 4, "bm25:5", 7000)
    assert found.sources == {
        "samples": "flag --samples",
        "turns": "variable RUNOFF_TURNS",
        "prefilter": "runoff.toml: prefilter",
        "context_tokens": "runoff.toml: context-tokens",
    }
    assert ("finalists", "3", "default") in found.lines()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"samples": 0}, "samples: input should be greater"),
        ({"sandbox": "cloud"}, "sandbox: input should be"),
        ({"selector": "votes | best"}, "selector: no step 'best'"),
        ({"selector": "votes | top:none"}, "selector: step 'top:none': it takes a whole number"),
        ({"stop_at": 2.0}, "stop-at: input should be less"),
        ({"stages": "testing"}, "not a beginning of"),
        ({"stages": "context,editing"}, "not a beginning of"),
    ],
)
def test_bad_values_are_named_with_their_source(tmp_path, flags, says):
    with pytest.raises(InputError, match=says) as caught:
        resolve(flags, {}, tmp_path)
    assert caught.value.where == f"flag --{next(iter(flags)).replace('_', '-')}"


def test_unknown_keys_of_the_file_are_refused(tmp_path):
    (tmp_path / "runoff.toml").write_text("sample = 3\n")
    with pytest.raises(InputError, match="sample: extra inputs"):
        resolve({}, {}, tmp_path)


def test_broken_file_is_named(tmp_path):
    (tmp_path / "runoff.toml").write_text("samples = \n")
    with pytest.raises(InputError, match="cannot read the settings") as caught:
        resolve({}, {}, tmp_path)
    assert caught.value.where.endswith("runoff.toml")


def test_passwords_in_urls_are_masked(tmp_path):
    lines = resolve({"model": "openai:m@http://me:secret@host:1/v1"}, {}, tmp_path).lines()
    assert ("model", "openai:m@http://***@host:1/v1", "flag --model") in lines


def test_every_setting_says_what_it_does():
    assert all(field.description for field in SolveSettings.model_fields.values())
