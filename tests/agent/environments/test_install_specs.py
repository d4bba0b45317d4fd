"""Install specs become a set-up command for a plain virtual environment; what cannot be done is told."""

import json

import pytest

from agent.environments.specs import specified
from agent.instances import Instance
from sandbox.errors import InputError

INSTANCE = Instance("shop__shop-1", "shop/shop", "0" * 40, "It fails.", "1.2")


@pytest.fixture
def environment(tmp_path, make_repository):
    """`environment(document, files)`: what the specs say for the instance on a repository of these files."""

    def read(document, files=()):
        path = tmp_path / "specs.json"
        path.write_text(json.dumps(document) if not isinstance(document, str) else document)
        return specified(str(path), INSTANCE, make_repository({"run.py": "", **dict(files)}))

    return read


def of(**spec):
    return {"shop/shop": {"1.2": spec}}


def test_the_order_is_packages_pins_preparations_install(environment):
    spec = of(
        python="3.9",
        packages="'numpy<2' pytest",
        pip_packages=["six==1.16.0", "-r more.txt"],
        pre_install=["sed -i 's/a/b/' setup.py"],
        install="pip install -e .[test]",
        test_cmd="pytest -rA",
    )
    found = environment(spec)
    assert found.setup.splitlines() == [
        "python -m pip install 'numpy<2' pytest",
        "python -m pip install six==1.16.0 -r more.txt",
        "sed -i 's/a/b/' setup.py",
        "pip install -e .[test]",
    ]
    assert (found.python, found.test, found.told) == ("3.9", "pytest -rA", ())


def test_requirements_txt_is_the_file_that_the_tree_has_for_tests(environment):
    found = environment(
        of(packages="requirements.txt"),
        {"requirements/dev.txt": "", "requirements/tests.txt": "", "requirements/docs.txt": ""},
    )
    assert found.setup == "python -m pip install -r requirements/tests.txt"
    assert found.told == ("packages: requirements.txt is taken to be requirements/tests.txt",)


def test_conda_packages_are_asked_of_pip_and_the_rest_is_told(environment):
    text = "dependencies:\n- python=3.9\n- numpy=1.25\n- pandas>=2\n- c-compiler\n- pip:\n  - sphinx<5\n"
    found = environment(of(packages="environment.yml"), {"ci/environment.yml": text})
    assert found.setup == "python -m pip install 'numpy==1.25.*' 'pandas>=2' 'sphinx<5'"
    assert found.told == (
        "packages: conda's of ci/environment.yml are asked of pip by the same names",
        "dropped, conda only: python==3.9.*, c-compiler",
    )


@pytest.mark.parametrize(
    "command",
    [
        "apt-get update",
        "DEBIAN_FRONTEND=noninteractive apt-get install -y x",
        "sudo apt install x",
        "conda install x",
        "locale-gen en_US.UTF-8",
        "echo 'en_US UTF-8' > /etc/locale.gen",
    ],
)
def test_commands_for_the_whole_system_are_dropped_and_told(environment, command):
    found = environment(of(pre_install=[command, "true"], install=""))
    assert found.setup == "true"
    assert found.told == (f"dropped, a package manager of the system is not used: {command}",)


def test_rows_by_instance_are_read_as_well(environment):
    row = {
        "instance_id": INSTANCE.id, "repo": "shop/shop", "version": "1.2", "env": {"A": "b"}, "test_command": "pytest a",
        "install_commands": ["python3.9 -m venv venv", "pip install -e ."], "pip_freeze": ["six==1"], "install_s": 3.0,
    }  # fmt: skip
    found = environment([row])
    assert (found.setup, found.python, found.variables, found.test) == ("pip install -e .", "3.9", {"A": "b"}, "pytest a")
    assert found.told == ()


def test_a_row_of_another_instance_of_the_same_version_serves(environment):
    found = environment([{"instance_id": "shop__shop-2", "repo": "shop/shop", "version": "1.2", "install": "make"}])
    assert (found.setup, found.evidence[:38]) == ("make", "shop/shop 1.2, from shop__shop-2, in /"[:38])


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "cannot read the install specs"),
        ({}, "no spec for shop/shop 1.2"),
        ({"shop/shop": {"1.1": {}}}, "no spec for shop/shop 1.2"),
        ({"shop/shop": ["1.2"]}, "no spec for shop/shop 1.2"),
        ([1, None, "x"], "no spec for shop/shop 1.2"),
        (of(pip_packages="six"), "pip_packages: input should be a valid list"),
        (of(install=3), "install: input should be a valid string"),
    ],
)
def test_a_file_that_does_not_help_is_refused(environment, document, says):
    with pytest.raises(InputError, match=says):
        environment(document)


@pytest.mark.parametrize("limits", [{}, {"seconds": 300, "memory_mb": 4096}])
def test_limits_of_its_executions(environment, limits):
    assert environment(of(install="pip install .", limits=limits)).limits == limits


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"memory": 1}, "limits.memory"), ({"disk_mb": 0}, "limits.disk_mb"), ({"seconds": "x"}, "limits.seconds")],
)
def test_limits_that_cannot_be(environment, limits, words):
    with pytest.raises(InputError, match=words):
        environment(of(install="pip install .", limits=limits))
