"""What the finder proposes for the ways in which Python projects write down how they are set up and tested."""

import pytest

from agent.environments.propose import propose

UNITTESTS = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n        pass\n"
BUILD = '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "shop"\n'


@pytest.fixture
def proposal(make_repository):
    """`proposal({path: content})`: what is proposed for a repository of these files."""
    return lambda files: propose(make_repository(files))


def commands(proposal):
    return [setup.value for setup in proposal.setups]


@pytest.mark.parametrize(
    ("files", "command", "evidence"),
    [
        (
            {"pyproject.toml": BUILD + '[project.optional-dependencies]\ndocs = ["sphinx"]\ntest = ["pytest>=7"]\n'},
            "pip install -e '.[test]'",
            "[project.optional-dependencies] test in pyproject.toml",
        ),
        (
            {
                "setup.py": "from setuptools import setup\nneeds = ['pytest']\nsetup(extras_require={'testing': needs + ['mock']})\n"
            },
            "pip install -e '.[testing]'",
            "extras_require testing in setup.py",
        ),
        (
            {
                "setup.py": "import setuptools\nsetuptools.setup()\n",
                "setup.cfg": "[options.extras_require]\ntests =\n  pytest\n  mock\n",
            },
            "pip install -e '.[tests]'",
            "[options.extras_require] tests in setup.cfg",
        ),
        (
            {
                "pyproject.toml": BUILD
                + '[dependency-groups]\nbase = ["pytest"]\ntest = [{include-group = "base"}, "mock>=5", {include-group = "test"}]\n'
            },
            "pip install -e . pytest 'mock>=5'",
            "[dependency-groups] test in pyproject.toml",
        ),
        (
            {"pyproject.toml": BUILD + '[dependency-groups]\ndev = ["shop[socks]", "pytest"]\n'},
            "pip install -e '.[socks]' pytest",
            "[dependency-groups] dev in pyproject.toml",
        ),
        (
            {
                "pyproject.toml": '[build-system]\nrequires = ["poetry-core"]\n[tool.poetry]\nname = "shop"\n'
                '[tool.poetry.group.test.dependencies]\npytest = "^7.1"\nmock = {version = "~0.3.1", python = "<3.8"}\nblack = {version = "*", optional = true}\n'
            },
            "pip install -e . 'pytest>=7.1,<8' 'mock>=0.3.1,<0.4 ; python_version < \"3.8\"'",
            "[tool.poetry.group.test.dependencies] in pyproject.toml",
        ),
        (
            {"pyproject.toml": BUILD + '[tool.hatch.envs.default]\ndependencies = ["pytest"]\n'},
            "pip install -e . pytest",
            "[tool.hatch.envs.default] in pyproject.toml",
        ),
        (
            {
                "pyproject.toml": BUILD,
                "tox.ini": "[testenv]\nextras = socks\ndeps =\n  -r{toxinidir}/need.txt\n  lint: flake8\n  py27: mock\n  {py311,pypy}-test: trustme\n  pytest # why\n",
                "need.txt": "six\n",
            },
            "pip install -e '.[socks]' -r need.txt trustme pytest",
            "deps of [testenv] in tox.ini",
        ),
        (
            {"setup.py": "import setuptools\n", "requirements-dev.txt": "pytest\n", "docs/requirements.txt": "sphinx\n"},
            "pip install -e . -r requirements-dev.txt",
            "requirements-dev.txt",
        ),
        (
            {
                "pyproject.toml": BUILD,
                ".github/workflows/ci.yml": "jobs:\n  t:\n    steps:\n    - name: Needs\n      run: |\n        python -m pip install -U pip\n"
                "        pip install -e '.[x]' \\\n          'mock>=5'\n        pip install $SECRET\n    - run: pytest --cov shop tests\n",
                "tests/a.txt": "",
            },
            "pip install -e '.[x]' 'mock>=5' pytest",
            'pip install in job "t" of .github/workflows/ci.yml',
        ),
        (
            {
                "pyproject.toml": BUILD,
                "noxfile.py": "def tests(session):\n    session.install('-e', '.[x]', 'pytest')\n    session.run('pytest')\n",
            },
            "pip install -e '.[x]' pytest",
            "session tests in noxfile.py",
        ),
        ({"run.py": "", "requirements.txt": "six\n"}, "pip install -r requirements.txt", "requirements.txt"),
        ({"run.py": ""}, "", "no packaging: nothing to install"),
    ],
)
def test_first_candidate_and_its_evidence(proposal, files, command, evidence):
    first = proposal(files).setups[0]
    assert (first.value, first.evidence) == (command, evidence)


def test_the_last_candidates_install_the_project_and_the_runner_alone(proposal):
    files = {"setup.py": "import setuptools\n", "requirements-dev.txt": "six\n", "tests/test_a.py": "import pytest\n"}
    assert commands(proposal(files)) == [
        "pip install -e . -r requirements-dev.txt pytest",
        "pip install -e . pytest",
        "pip install 'setuptools<81' wheel && pip install --no-build-isolation -e . pytest",
    ]


def test_plugins_that_the_configuration_of_pytest_needs_are_installed(proposal):
    files = {"pyproject.toml": BUILD, "pytest.ini": "[pytest]\naddopts = --cov=shop -n auto\nasyncio_mode = auto\n"}
    assert commands(proposal(files)) == ["pip install -e . pytest pytest-cov pytest-xdist pytest-asyncio"]


def test_without_packaging_the_runner_is_enough_and_nothing_is_the_last_resort(proposal):
    found = proposal({"tests/test_a.py": "def test_a():\n    assert True\n"})
    assert commands(found) == ["pip install pytest", ""]
    assert (found.test.value, found.test.evidence) == ("python -m pytest", "test functions in tests/test_a.py")


@pytest.mark.parametrize("tool", ["setuptools-scm", "hatch-vcs", "pbr"])
def test_a_version_is_made_up_only_where_no_tag_says_one(make_tree, git, tool):
    from agent.repository import Repository

    folder = make_tree({"pyproject.toml": f'[build-system]\nrequires = ["{tool}>=1"]\n[project]\nname = "shop"\n'})
    variable = "PBR_VERSION" if tool == "pbr" else "SETUPTOOLS_SCM_PRETEND_VERSION"
    with Repository.open(folder) as repository:
        (setup,) = propose(repository).setups
    assert setup.value == f"export {variable}=999.0; pip install -e ."
    assert "no tag says the version" in setup.evidence
    git(folder, "tag", "v1.2")
    with Repository.open(folder) as repository:
        (setup,) = propose(repository).setups
    assert setup.value == "pip install -e ."


@pytest.mark.parametrize(
    ("files", "command", "evidence"),
    [
        (
            {
                "tox.ini": "[testenv]\nsetenv =\n  PYTHONPATH = src\n  SECRET = {env:SECRET}\ncommands =\n  coverage run -m pytest -x {posargs:tests} gone\n",
                "tests/a": "",
            },
            "PYTHONPATH=src python -m pytest tests",
            "commands of [testenv] in tox.ini",
        ),
        (
            {
                "tox.ini": "[testenv]\ncommands = {[base]run}\n[base]\nrun = pytest --cov shop --cov-report term -k 'not slow' {toxinidir}/tests\n",
                "tests/a": "",
            },
            "python -m pytest -k 'not slow' tests",
            "commands of [testenv] in tox.ini",
        ),
        (
            {"tox.toml": '[env_run_base]\ncommands = [["python", "-m", "unittest", "-v", "discover"]]\n'},
            "python -m unittest discover",
            "commands of env_run_base in tox.toml",
        ),
        (
            {
                ".github/workflows/tests.yaml": "jobs:\n  a:\n    steps:\n    - name: Run tests\n      run: uv run --group test pytest -n auto tests | tee log\n",
                "tests/a": "",
            },
            "python -m pytest tests",
            'step "Run tests" of .github/workflows/tests.yaml',
        ),
        (
            {".gitlab-ci.yml": "unit:\n  script:\n  - cd . && PYTHONHASHSEED=0 python3 -W error -m pytest\n"},
            "python -m pytest",
            'job "unit" of .gitlab-ci.yml',
        ),
        (
            {".travis.yml": "script: python manage.py test\n", "manage.py": ""},
            "python manage.py test",
            "script of .travis.yml",
        ),
        (
            {"Makefile": "test: all\n\t@pytest -q tests\n", "tests/a": ""},
            "python -m pytest tests",
            "target test of Makefile",
        ),
        ({"setup.cfg": "[tool:pytest]\ntestpaths = t\n"}, "python -m pytest", "[tool:pytest] in setup.cfg"),
        (
            {"tests/test_a.py": UNITTESTS, "tests/__init__.py": ""},
            "python -m unittest discover -s tests -t .",
            "tests/test_a.py uses unittest",
        ),
        ({"test_a.py": UNITTESTS}, "python -m unittest discover", "test_a.py uses unittest"),
    ],
)
def test_test_command_and_its_evidence(proposal, files, command, evidence):
    found = proposal(files).test
    assert (found.value, found.evidence) == (command, evidence)


def test_without_tests_there_is_no_test_command(proposal):
    assert proposal({"run.py": "print()\n"}).test is None


@pytest.mark.parametrize(
    ("files", "requires", "tested"),
    [
        ({"pyproject.toml": '[project]\nname = "a"\nrequires-python = ">=3.9,<4"\n'}, ">=3.9,<4", ()),
        (
            {
                "setup.cfg": "[options]\npython_requires = >=3.6\n[metadata]\nclassifiers =\n  Programming Language :: Python :: 3.6\n"
            },
            ">=3.6",
            ("3.6",),
        ),
        ({"setup.py": "from setuptools import setup\nsetup(python_requires='~=3.7')\n"}, "~=3.7", ()),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.8"\n'}, ">=3.8,<4", ()),
        (
            {"tox.ini": "[tox]\nenvlist = py{37,39}, py3.10, lint\n[testenv]\ncommands = pytest\n"},
            "",
            ("3.7", "3.9", "3.10"),
        ),
        (
            {
                ".github/workflows/t.yml": "jobs:\n  a:\n    strategy:\n      matrix:\n        python-version: [3.8, 3.10]\n        include:\n        - python: 3.12-dev\n"
            },
            "",
            ("3.8", "3.10", "3.12"),
        ),
    ],
)
def test_python_range(proposal, files, requires, tested):
    python = proposal(files).python
    assert (python.requires, python.tested) == (requires, tested)


def test_an_interpreter_outside_of_the_range_is_objected_to(proposal):
    python = proposal({"pyproject.toml": '[project]\nname = "a"\nrequires-python = ">=3.8,<3.11"\n'}).python
    assert python.objection("3.10.4") == ""
    assert (
        python.objection("3.11.7")
        == "the repository needs Python >=3.8,<3.11 (requires-python in pyproject.toml), this is 3.11.7"
    )


def test_an_interpreter_much_newer_than_all_that_were_tested_is_objected_to(proposal):
    python = proposal({"tox.ini": "[tox]\nenvlist = py36,py37\n[testenv]\ncommands = pytest\n"}).python
    assert python.objection("3.9.1") == ""
    assert python.objection("3.11.7").startswith(
        "the repository is tested up to Python 3.7 (environments of [testenv] in tox.ini)"
    )
