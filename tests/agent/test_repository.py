from pathlib import Path

import pytest

from agent.encodings import decode
from agent.repository import Repository
from agent.revisions import masked, name_from
from sandbox.errors import InfrastructureError, InputError

FILES = {"app/main.py": "print('hi')\n", "README.md": "# x\n", "pkg/ünï côde.py": "x = 1\n", "run.sh": "true\n"}


@pytest.mark.parametrize("spot", ["", "app", ".git"])
def test_opens_a_work_tree_from_anywhere_in_it(make_tree, git, spot):
    tree = make_tree(FILES)
    with Repository.open(tree / spot) as repository:
        assert repository.commit == git(tree, "rev-parse", "HEAD").decode().strip()
        assert [file.path for file in repository.files()] == sorted(FILES, key=str.encode)
        assert repository.path == tree
        assert repository.read("pkg/ünï côde.py") == "x = 1\n"


@pytest.mark.parametrize("config", [True, False])
def test_opens_a_bare_repository(make_tree, git, tmp_path, config):
    tree = make_tree(FILES)
    git(tmp_path, "clone", "-q", "--bare", str(tree), "bare.git")
    if not config:  # as some mirrors are stored
        (tmp_path / "bare.git" / "config").unlink()
    with Repository.open(tmp_path / "bare.git", "main") as repository:
        assert repository.read("app/main.py") == "print('hi')\n"
        assert repository.dirty == ""


def test_files_are_those_of_the_commit_and_not_of_the_work_tree(make_tree, git):
    tree = make_tree(FILES)
    first = git(tree, "rev-parse", "HEAD").decode().strip()
    (tree / "app/main.py").write_text("print('second')\n")
    git(tree, "commit", "-qam", "second")
    (tree / "app/main.py").write_text("print('not committed')\n")
    (tree / "new.py").write_text("")
    with Repository.open(tree, first[:10]) as repository:
        assert repository.commit == first
        assert repository.read("app/main.py") == "print('hi')\n"
        assert repository.dirty == "1 changed, 1 untracked"
        assert repository.entry("new.py") is None


def test_modes_sizes_and_languages(make_tree, git):
    tree = make_tree(FILES)
    (tree / "link.md").symlink_to("README.md")
    (tree / "run.sh").chmod(0o755)
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "modes")
    with Repository.open(tree) as repository:
        by_path = {file.path: file for file in repository.files()}
        assert "link.md" not in by_path
        assert repository.special == {"link.md"}
        assert (by_path["run.sh"].mode, by_path["run.sh"].language) == ("100755", "shell")
        assert (by_path["app/main.py"].size, by_path["app/main.py"].language) == (12, "python")
        with pytest.raises(KeyError):
            repository.read("link.md")


def test_a_url_is_cloned_once_and_fetched_for_what_is_missing(make_tree, git, tmp_path):
    tree = make_tree(FILES)
    url, cache = f"file://{tree}", tmp_path / "cache"
    with Repository.open(url, cache_dir=cache) as repository:
        assert repository.name == "project"
        first = repository.commit
    (tree / "later.py").write_text("1\n")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "later")
    with Repository.open(url, cache_dir=cache) as repository:
        assert repository.commit != first
        assert repository.read("later.py") == "1\n"
    assert len(list((cache / "repositories").glob("*.git"))) == 1
    tree.rename(tmp_path / "gone")
    with Repository.open(url, first, cache_dir=cache) as repository:
        assert repository.commit == first
    with pytest.raises(InfrastructureError) as caught:
        Repository.open(url, "main", cache_dir=cache)
    assert "full commit id" in caught.value.hint


def test_unknown_revisions_get_the_nearest_names(make_tree, git):
    tree = make_tree(FILES)
    git(tree, "branch", "stable/2.x")
    git(tree, "tag", "v1.0.2")
    with pytest.raises(InputError, match=r"unknown revision .stable/2\.1.") as caught:
        Repository.open(tree, "stable/2.1")
    assert "stable/2.x" in caught.value.hint
    for revision in ("", "--help", "0" * 40):
        with pytest.raises(InputError, match="unknown revision"):
            Repository.open(tree, revision)


def test_what_is_not_a_repository(tmp_path, git):
    with pytest.raises(InputError, match="no such directory"):
        Repository.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a git repository") as caught:
        Repository.open(tmp_path)
    assert caught.value.hint
    git(tmp_path, "init", "-q")
    with pytest.raises(InputError, match="no commit yet"):
        Repository.open(tmp_path)


def test_a_repository_of_another_user_gets_the_command_that_trusts_it(make_tree, monkeypatch):
    tree = make_tree(FILES)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(InputError, match="another user") as caught:
        Repository.open(tree)
    assert caught.value.hint == f"git config --global --add safe.directory {tree}"


def test_a_url_that_cannot_be_reached(tmp_path):
    with pytest.raises(InfrastructureError, match="cannot fetch") as caught:
        Repository.open(f"file://{tmp_path}/nothing.git", cache_dir=tmp_path / "cache")
    assert "check the URL" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/pallets/flask.git", "pallets/flask"),
        ("git@github.com:pallets/flask", "pallets/flask"),
        ("ssh://git@host:22/group/sub/project.git/", "sub/project"),
        ("/srv/git/flask.git", "flask"),
        ("file:///srv/git/flask", "flask"),
    ],
)
def test_names_from_urls(url, name):
    assert name_from(url) == name


def test_name_of_a_repository_comes_from_its_remote(make_tree, git):
    tree = make_tree(FILES)
    with Repository.open(tree) as repository:
        assert repository.name == "project"
    git(tree, "remote", "add", "origin", "https://example.org/owner/thing.git")
    with Repository.open(tree) as repository:
        assert repository.name == "owner/thing"


def test_messages_hold_no_password():
    assert masked("https://me:secret@host/x.git") == "https://***@host/x.git"


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("é\n".encode(), "é\n", "utf-8"),
        (b"\xef\xbb\xbfx\n", "x\n", "utf-8"),
        (b"# -*- coding: cp1252 -*-\nx = '\x80'\n", "# -*- coding: cp1252 -*-\nx = '€'\n", "cp1252"),
        (b"x = '\xe9'\n", "x = 'é'\n", "latin-1"),
        (b"# coding: no-such\nx = '\xe9'\n", "# coding: no-such\nx = 'é'\n", "latin-1"),
        (b"", "", "utf-8"),
    ],
)
def test_texts_go_back_to_their_bytes(data, text, encoding):
    decoded = decode(data, python=True)
    assert (decoded.text, decoded.encoding) == (text, encoding)
    assert decoded.encode(decoded.text) == data


def test_work_trees_of_a_repository(make_tree, git, tmp_path: Path):
    tree = make_tree(FILES)
    git(tree, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    with Repository.open(tmp_path / "side") as repository:
        assert repository.path == tmp_path / "side"
        assert repository.read("app/main.py") == "print('hi')\n"


def test_a_damaged_repository_is_no_fault_of_the_input(make_tree, git):
    tree = make_tree(FILES)
    blob = git(tree, "rev-parse", "HEAD:app/main.py").decode().strip()
    with Repository.open(tree) as repository:
        assert repository.files()
        (tree / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
        with pytest.raises(InfrastructureError, match=r"cannot read 'app/main\.py'") as caught:
            repository.read("app/main.py")
        assert "git fsck" in caught.value.hint
        assert repository.read("README.md") == "# x\n"
