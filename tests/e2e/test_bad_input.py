"""Bad input ends in three lines and its exit code, before anything is spent and without a run folder."""

import json

import pytest

LABELS = ["error:", "where:", "next:"]


@pytest.fixture
def refused(runoff, person):
    """Run a command that must be refused; gives (exit code, lines of standard error)."""

    def run(*arguments, **environment):
        code, _, err = runoff(*arguments, **environment)
        assert person.answered == []
        assert not [path for path in (runoff.folder / "runs").glob("*/*") if path.name != "owner.json"]
        lines = [line for line in err.splitlines() if line.split(" ")[0] in LABELS]
        assert [line.split(" ")[0] for line in lines] == LABELS, err
        assert "Traceback" not in err
        return code, err

    return run


def change(arguments, **values):
    """The arguments with other values of some flags; None takes a flag away."""
    changed = list(arguments)
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if flag in changed:
            place = changed.index(flag)
            del changed[place : place + 2]
        if value is not None:
            changed += [flag, value]
    return changed


def test_not_a_repository(refused, solve_arguments, tmp_path):
    code, said = refused(*change(solve_arguments, repo=tmp_path))
    assert code == 2
    assert "repository" in said


def test_unknown_revision(refused, solve_arguments):
    code, said = refused(*change(solve_arguments, base="mian"))
    assert code == 2
    assert "mian" in said
    assert "main" in said.split("next:")[1]


@pytest.mark.parametrize("issue", ["", "   \n "])
def test_empty_issue(refused, solve_arguments, issue):
    code, _ = refused(*change(solve_arguments, issue=issue))
    assert code == 2


ROW = {"instance_id": "texttools__texttools-1", "repo": "texttools/texttools", "problem_statement": "It is wrong."}


def dataset(folder, commit, *, torn=False):
    path = folder / "rows.jsonl"
    rows = [{**ROW, "base_commit": commit}, {**ROW, "instance_id": "texttools__texttools-2", "base_commit": commit}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text[:-40] if torn else text)
    return path


def from_dataset(arguments, source, identifier):
    return change(arguments, issue=None, dataset=source, instance=identifier)


def test_unknown_instance_suggests_the_nearest(refused, solve_arguments, repository, tmp_path, git):
    source = dataset(tmp_path, git(repository, "rev-parse", "HEAD").strip())
    code, said = refused(*from_dataset(solve_arguments, source, "texttools__texttools-l"))
    assert code == 2
    assert "texttools__texttools-1" in said


def test_half_written_data_set(refused, solve_arguments, repository, tmp_path, git):
    source = dataset(tmp_path, git(repository, "rev-parse", "HEAD").strip(), torn=True)
    code, said = refused(*from_dataset(solve_arguments, source, "texttools__texttools-2"))
    assert code == 2
    assert str(source) in said


def test_missing_data_set(refused, solve_arguments, tmp_path):
    code, said = refused(*from_dataset(solve_arguments, tmp_path / "nowhere.jsonl", "x"))
    assert code == 2
    assert "nowhere.jsonl" in said


def test_no_key(refused, solve_arguments):
    code, said = refused(*change(solve_arguments, model=None))
    assert code == 2
    assert "ANTHROPIC_API_KEY" in said


def test_no_such_vendor(refused, solve_arguments):
    code, said = refused(*change(solve_arguments, model="antropic:claude"))
    assert code == 2
    assert "anthropic:" in said


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ((401, {"error": {"message": "Incorrect API key provided"}}), 2, "key"),
        ((200, {"object": "list", "data": [{"id": "other", "object": "model", "owned_by": "vllm"}]}), 2, "other"),
        ((503, {"error": {"message": "Loading model"}}), 4, "load"),
    ],
    ids=["wrong key", "unknown model", "still loading"],
)
def test_servers_that_will_not_do(refused, solve_arguments, http_server, answer, code, says):
    with http_server(*answer) as url:
        ended, said = refused(*change(solve_arguments, model=f"openai:m@{url}/v1", retries=1), OPENAI_API_KEY="sk-wrong")
    assert ended == code
    assert says in said.lower()
    assert "sk-wrong" not in said


def test_server_down(refused, solve_arguments, free_port):
    code, said = refused(*change(solve_arguments, model=f"openai:m@http://127.0.0.1:{free_port}/v1", retries=1))
    assert code == 4
    assert str(free_port) in said


def test_no_engine(refused, solve_arguments):
    code, said = refused(*change(solve_arguments, sandbox="docker"), DOCKER_HOST="unix:///nowhere/docker.sock")
    assert code == 4
    assert "scripts/docker-engine" in said


def test_set_up_that_fails(refused, solve_arguments):
    code, said = refused(*change(solve_arguments, setup="echo about to fail && exit 7"))
    assert code == 2
    assert "7" in said
    assert "about to fail" in said


def test_run_of_other_settings(runoff, solve_arguments):
    assert runoff(*solve_arguments)[0] == 0
    code, _, err = runoff(*solve_arguments, "--turns", 3)
    assert code == 2
    assert "another turns: 8, not 3" in err


def test_run_of_another_commit(runoff, solve_arguments, repository, git):
    assert runoff(*solve_arguments, "--stages", "context")[0] == 0
    (repository / "texttools" / "wrap.py").write_text("def wrap(text, width):\n    return [text]\n")
    git(repository, "commit", "-qam", "later")
    code, _, err = runoff(*solve_arguments, "--stages", "context")
    assert code == 2
    assert "another base commit" in err


def test_unknown_prefilter_and_language(refused, solve_arguments):
    assert refused(*solve_arguments, "--prefilter", "words:3")[0] == 2
    assert "pythn" in refused(*solve_arguments, "--languages", "pythn")[1]


def test_password_in_a_repositorys_url(refused, solve_arguments):
    code, said = refused(*change(solve_arguments, repo="https://me:s3cret@example.org/x.git"))
    assert code == 2
    assert "s3cret" not in said


def test_apply_without_a_work_tree(refused, solve_arguments, repository, git):
    bare = repository.with_name("bare.git")
    git(repository.parent, "clone", "-q", "--bare", repository, bare)
    code, said = refused(*change(solve_arguments, repo=bare), "--apply")
    assert code == 2
    assert "no work tree" in said


def test_output_that_is_a_folder(refused, solve_arguments, tmp_path):
    code, said = refused(*solve_arguments, "--output", tmp_path)
    assert code == 2
    assert "folder" in said


def test_replay_of_nothing(refused, solve_arguments):
    code, _ = refused(*change(solve_arguments, model="replay:nowhere"))
    assert code == 2


def test_unknown_run(runoff):
    code, _, err = runoff("resume", "nowhere")
    assert code == 2
    assert "there is no run 'nowhere'" in err
