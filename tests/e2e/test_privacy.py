"""Secrets planted wherever a user has them: none of the user's leaves the process, none of anybody's leaves an export."""

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from sandbox.api import digest_of
from tests.e2e.openai_server import MODELS, JsonHandler, completion, listening, stage_of

KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-" + "Zq4AnthropicCanary7" * 3,
    "OPENAI_API_KEY": "gateway-" + "Wx8OpenaiCanary5" * 3,  # of no known pattern
    "HF_TOKEN": "hf_" + "Hf2HubCanary9" * 3,
    "AWS_ACCESS_KEY_ID": "AKIA" + "CANARYQ7IDWXYZ23",
    "AWS_SECRET_ACCESS_KEY": "Aws3SecretCanary/+" * 2 + "Hq7k",
    "AWS_SESSION_TOKEN": "Sess10nCanary//+=" * 4,
    "MY_SERVICE_TOKEN": "words-of-a-canary-that-nobody-else-says",
    "DEPLOY_PASSWORD": 'c4nary "quoted" \\ and slashed',
}
PASSWORDS = {"DATABASE_URL": "Db5PasswordCanary", "PIP_INDEX_URL": "Pip6PasswordCanary"}
URLS = {
    "DATABASE_URL": f"postgres://app:{PASSWORDS['DATABASE_URL']}@db.example.org/main",
    "PIP_INDEX_URL": f"https://app:{PASSWORDS['PIP_INDEX_URL']}@pypi.example.org/simple",
}
HOME_FILES = {
    ".netrc": "machine git.example.org login me password Netrc1Canary",
    ".pypirc": "[pypi]\npassword = pypi-AgEPypircCanary2" + "x" * 40,
    ".config/pip/pip.conf": "[global]\nindex-url = https://me:Pipconf3Canary@pypi.example.org/simple",
    ".git-credentials": "https://me:Gitcred4Canary@git.example.org",
    ".ssh/id_ed25519": "Ssh5Canary",
}
IN_HOME = ("Netrc1Canary", "PypircCanary2", "Pipconf3Canary", "Gitcred4Canary", "Ssh5Canary")
PEM_BODY = "MIIEvQIBADANBgkqhkiG9w0PemCanary" + "Qk7" * 10
IN_REPOSITORY = {
    ".env": f"STRIPE_KEY=sk_live_{'Str1peCanary' * 2}\nDB_PASSWORD=Env1FileCanary99\nMINE={KEYS['OPENAI_API_KEY']}\n",
    "config.ini": "[db]\nurl = postgres://svc:Conf1gUrlCanary@db.internal:5432/x\n",
    "key.pem": f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}\n-----END RSA PRIVATE KEY-----\n",
    "texttools/settings.py": f'KEY = "{KEYS["OPENAI_API_KEY"]}"\nGITHUB = "ghp_{"Gh1Canary" * 4}"\n',
}
COMMITTED = ("Str1peCanary", "Env1FileCanary99", "Conf1gUrlCanary", "PemCanary", "Gh1Canary")
SPY = """import glob, os
print(dict(os.environ))
for path in [*glob.glob("/proc/*/environ"), *{paths!r}, "/opt/env/seen", ".env", "config.ini", "key.pem", "texttools/settings.py"]:
    try:
        with open(path, "rb") as file:
            print(path[-20:], file.read(1500).replace(b"\\0", b" ").decode())
    except OSError:
        pass
"""


def secrets_of_the_user():
    return [*KEYS.values(), *PASSWORDS.values(), *IN_HOME, json.dumps(KEYS["DEPLOY_PASSWORD"])[1:-1]]


def holders(places, secrets):
    """Which texts hold which secrets: `places` is (name, bytes)."""
    return {(name, secret) for name, content in places for secret in secrets if secret.encode() in content}


def files_below(folder):
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]


class Gateway:
    """An OpenAI-compatible server with a person's answers that echoes the request's headers at every occasion."""

    def __init__(self, person, spy):
        self.person, self.spy = person, spy
        self.bodies = []
        self.asked = 0
        self.mood = "echo"
        """`echo`: the first request fails with a 500 that quotes the key; `refuse`: 401; `down`: 500 for ever."""

    def reply(self, body, header):
        stage = stage_of(body)
        turn = 1 + sum(message["role"] == "assistant" for message in body["messages"])
        last = body["messages"][-1]["content"]
        branch = "slug" if "texttools/slug.py" in last or "texttools/settings.py" in last else "other"
        text = self.person.say({"key": {"stage": stage, "sample": 0, "branch": branch}, "messages": body["messages"]}, turn)
        if stage == "testing":
            text = text.replace("<test>\n", f"<test>\n{self.spy}")
        return f"Your header was {header}.\n{text}"

    def answer(self, handler, body):
        header = handler.headers["Authorization"]
        quoted = f"Incorrect API key provided: {header}. ".ljust(270, ".") + header[7:]  # runoff cuts it at 300 characters
        complaint = {"error": {"message": quoted, "type": "error"}}
        self.asked += body is not None
        if self.mood == "refuse":
            return 401, complaint
        if (self.mood == "down" and body is not None) or (body is not None and self.asked == 1):
            return 500, complaint
        if body is None:
            return 200, MODELS
        return 200, completion(self.reply(body, header), model=f"m for {header}")

    def __enter__(self):
        gateway = self

        class Handler(JsonHandler):
            def answer(self, content):
                if content is None:
                    return gateway.answer(self, None)
                gateway.bodies.append(content)
                return gateway.answer(self, json.loads(content))

        self._listening = listening(Handler)
        self.spec = f"openai:m@{self._listening.__enter__()}/v1"
        return self

    def __exit__(self, *error):
        self._listening.__exit__(*error)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home-of-somebody"
    for name, text in HOME_FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def planted(runoff, repository, home, git):
    """The repository with secrets in it, and a process with secrets around it; what ran is collected in `said`."""
    for name, text in IN_REPOSITORY.items():
        (repository / name).write_text(text)
    git(repository, "add", "-A", "-f")
    git(repository, "commit", "-qm", "Add settings")
    git(repository, "remote", "add", "origin", "https://me:Remote6Canary@git.example.org/me/texttools")
    runoff.environment |= {**KEYS, **URLS, "HOME": str(home)}
    runoff.environment.pop("XDG_CACHE_HOME", None)
    return repository


@pytest.fixture
def gateway(person, home):
    paths = [str(home / name) for name in HOME_FILES]
    with Gateway(person, SPY.format(paths=paths)) as server:
        yield server


def arguments(gateway, repository, sandbox="local"):
    new = digest_of(str(repository))[:12]  # an environment that no earlier run of the tests has built
    return [
        "solve", "--repo", repository, "--issue", "slug doubles dashes: slug('A  B') gives 'a--b'.", "--model", gateway.spec,
        "--samples", 1, "--sandbox", sandbox, "--run", "first", "--setup", f"env > /opt/env/seen; : {new}", "--retries", 2,
    ]  # fmt: skip


def unpacked(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("sandbox", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_secrets_stay_where_they_are(runoff, planted, gateway, tmp_path, sandbox):
    said = []
    code, out, err = runoff(*arguments(gateway, planted, sandbox))
    said += [("solve", f"{out}{err}".encode())]
    assert code == 0, err
    code, out, err = runoff("show", "first")
    said += [("show", f"{out}{err}".encode())]
    code, out, err = runoff("show", "first", "--export", "given.tar.gz", "--with-prompts")
    said += [("export", f"{out}{err}".encode())]
    assert code == 0, err

    run = runoff.folder / "runs" / "first"
    own = files_below(run)
    received = [("request", body) for body in gateway.bodies]
    assert holders([*own, *said, *received], [*secrets_of_the_user(), "Remote6Canary"]) == set()
    spied = next(content for name, content in own if name.endswith("executions.jsonl")).decode()
    assert "PYTHONHASHSEED" in spied  # it did look
    assert "Env1FileCanary99" in spied  # what is committed is code, and stays in the run
    assert set(re.findall(r"\[redacted:(\w+)", spied)) == {"OPENAI_API_KEY"}  # it is committed; nothing else came in
    assert any(b"[redacted:OPENAI_API_KEY:1]" in body and b"texttools/settings.py" in body for body in gateway.bodies)
    assert any("[redacted:OPENAI_API_KEY:1]" in line for line in (run / "ledger.jsonl").read_text().splitlines())

    given = files_below(unpacked(runoff.folder / "given.tar.gz", tmp_path / "given"))
    assert any("parts/" in name for name, _ in given)
    places = (str(tmp_path), "home-of-somebody", "db.internal:5432/x@")
    assert holders(given, [*secrets_of_the_user(), *COMMITTED, *places]) == set()
    warned = said[0][1].decode()
    assert "a prompt would have held the value of OPENAI_API_KEY" in warned
    assert "PIP_INDEX_URL holds a password, so set-up does not get it" in warned


@pytest.mark.parametrize("mood", ["refuse", "down"])
def test_failures_name_no_key_and_are_resumed(runoff, planted, gateway, tmp_path, mood):
    gateway.mood = mood
    code, out, err = runoff(*arguments(gateway, planted), "--stages", "context")
    assert code == {"refuse": 2, "down": 4}[mood], err
    assert "[redacted:" in err
    said = [("failed", f"{out}{err}".encode())]
    gateway.mood = "echo"
    again = ["resume", "first"] if mood == "down" else [*arguments(gateway, planted), "--stages", "context"]
    code, out, err = runoff(*again)
    said += [("again", f"{out}{err}".encode())]
    assert code == 0, err
    own = files_below(runoff.folder / "runs" / "first")
    if mood == "down":
        note = [
            line
            for name, content in own
            if name.endswith(".jsonl")
            for line in content.decode().splitlines()
            if '"note"' in line
        ]
        assert note
        assert "[redacted:" in note[0]
    pieces = [value[:12] for value in (KEYS["OPENAI_API_KEY"][8:], KEYS["ANTHROPIC_API_KEY"][13:])]
    assert holders([*own, *said], [*secrets_of_the_user(), *pieces]) == set()


def test_a_traceback_names_no_key(runoff, planted):
    code = "from agent.cli import streams; streams.mask(); import os; raise ValueError(dict(os.environ))"
    command = ["python", "-c", code]
    environment = {**runoff.environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert b"ValueError" in done.stderr
    assert holders([("traceback", done.stderr)], secrets_of_the_user()) == set()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--model", f"openai:m@http://127.0.0.1:1/v1?api_key={KEYS['MY_SERVICE_TOKEN']}"),
        ("--setup", "pip install --index-url https://me:S3tupCanary@pypi.example.org/simple ."),
        ("--issue", f"It fails with {KEYS['MY_SERVICE_TOKEN']} as the token."),
    ],
)
def test_a_secret_in_a_setting_is_refused_unseen(runoff, planted, gateway, flag, value):
    code, out, err = runoff(*arguments(gateway, planted), flag, value)
    assert code == 2
    assert "secret" in err or "password" in err or "holds the value of" in err
    pasted = re.findall(r"\w*(?:Canary|Password|canary|a1B2)[\w-]*", value)
    assert holders([("said", f"{out}{err}".encode())], [value, *pasted]) == set()
    assert not (runoff.folder / "runs" / "first").exists()
    assert gateway.bodies == []


def test_set_up_gets_the_secrets_that_are_named_and_nobody_else_does(runoff, planted, gateway):
    wanted = {"RUNOFF_SETUP_SECRETS": "MY_SERVICE_TOKEN"}
    setup = 'test "${#MY_SERVICE_TOKEN}" = 39 && echo "$MY_SERVICE_TOKEN" && exit 3'
    code, _, err = runoff(*arguments(gateway, planted), "--setup", setup, **wanted)
    assert code == 2
    assert "failed with exit code 3" in err
    assert "[redacted:MY_SERVICE_TOKEN:1]" in err
    code, _, err = runoff(*arguments(gateway, planted), "--setup", 'test -n "$MY_SERVICE_TOKEN"', **wanted)
    assert code == 0, err
    assert holders(files_below(runoff.folder / "runs" / "first"), secrets_of_the_user()) == set()


def test_the_key_of_a_model_is_handed_to_no_set_up(runoff, planted, gateway):
    code, _, err = runoff(*arguments(gateway, planted), RUNOFF_SETUP_SECRETS="OPENAI_API_KEY")
    assert code == 2
    assert "which no sandbox gets" in err


def test_an_export_is_shown_and_replayed_like_the_run(runoff, solve_arguments, tmp_path):
    runoff(*solve_arguments)
    code, out, err = runoff("show", "first", "--export", "given")
    assert code == 0, err
    assert "left out: parts/" in out
    shown = runoff("show", "given", "--runs", ".")[1]
    assert shown == runoff("show", "first")[1]
    code, _, err = runoff(*solve_arguments, "--model", "replay:given", "--run", "second")
    assert code == 0, err
    assert "differs" not in err
    assert runoff.result("second")["patch"] == runoff.result("first")["patch"]
    assert holders(files_below(runoff.folder / "given"), [str(tmp_path)]) == set()


def test_an_export_is_the_same_bytes_and_overwrites_nothing(runoff, solve_arguments):
    runoff(*solve_arguments)
    for name in ("one.tar.gz", "two.tar.gz"):
        assert runoff("show", "first", "--export", name)[0] == 0
    first = (runoff.folder / "one.tar.gz").read_bytes()
    assert first == (runoff.folder / "two.tar.gz").read_bytes()
    code, _, err = runoff("show", "first", "--export", "one.tar.gz")
    assert (code, "exists already" in err) == (2, True)
    assert sorted(path.name for path in runoff.folder.iterdir()) == ["one.tar.gz", "runs", "two.tar.gz"]
