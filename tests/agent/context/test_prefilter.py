import pytest

from agent.context.bm25 import keep_from, nearest, words
from sandbox.errors import InputError

FILES = {
    "app/http_server.py": "class HTTPServer:\n    def serve(self): ...\n",
    "app/mail.py": "def send_mail(): ...\n",
    "app/parse.py": "def parse_duration(text): ...\n",
    "app/util.py": "def noop(): ...\n" * 50,
}


def test_identifiers_are_split_and_kept_whole():
    assert list(words("HTTPServer_name parseURL x1 word")) == (
        ["httpserver_name", "httpserver", "http", "server", "name", "parseurl", "parse", "url", "x1", "word"]
    )


def test_the_nearest_files_are_kept_in_their_order(make_repository):
    repository = make_repository(FILES)
    files = repository.files()

    def kept(issue, count):
        return [file.path for file in nearest(files, issue, count, read=repository.read)]

    assert kept("The duration of a server is not parsed", 2) == ["app/http_server.py", "app/parse.py"]
    assert kept("sendMail fails", 1) == ["app/mail.py"]
    assert kept("a problem in app/util.py", 1) == ["app/util.py"]
    assert kept("anything", 9) == list(FILES)
    assert kept("zebra", 2) == kept("zebra", 2) == ["app/http_server.py", "app/mail.py"]
    assert len(kept("", 2)) == 2


def test_the_setting():
    assert (keep_from(""), keep_from("bm25:20")) == (None, 20)
    for spec in ("bm25", "bm25:0", "bm25:-1", "tfidf:3", "bm25:x"):
        with pytest.raises(InputError, match="unknown prefilter"):
            keep_from(spec)
