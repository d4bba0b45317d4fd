"""Makes images that the official harness can use, out of runoff's own environments: for where no registry is reached.

The harness wants the tree at /testbed, `source /opt/miniconda3/bin/activate` and `conda activate testbed`. Here these put
the environment's own Python first on the PATH. What is made so is evaluated by the official command, on other images
than the official ones: say so with every figure.

usage: python scripts/swebench_images.py --dataset FILE --install-specs FILE --repos DIR --instances ID,...
"""

import argparse
import asyncio
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.cli.environment import prepare
from agent.cli.inputs import NOTHING, inputs_of
from agent.cli.settings import SolveSettings, validated
from agent.instances import Instance, load
from sandbox.docker_sandbox import DockerSandbox
from sandbox.jobs import VENV

SHIM = f'conda() {{ if [ "${{1:-}}" = activate ]; then export PATH="{VENV}/bin:$PATH" CONDA_DEFAULT_ENV="${{2:-}}"; fi; }}\n'
KILL = '#!/bin/bash\nkill "$@"\n'
"""The harness ends tests that take too long by this program, which slim images do not have."""
DOCKERFILE = """FROM {built}
COPY activate /opt/miniconda3/bin/activate
COPY kill /usr/local/bin/kill
RUN mkdir -p /opt/miniconda3/envs && ln -s {venv} /opt/miniconda3/envs/testbed
ENTRYPOINT []
CMD ["/bin/bash"]
"""


def image_for(client: Any, built: str, name: str) -> None:
    """Tag a copy of a built environment, with the shim in it, as the harness names it."""
    client.images.build(
        fileobj=context(built), custom_context=True, tag=name, rm=True, forcerm=True, labels={"runoff.swebench": "1"}
    )


def context(built: str) -> io.BytesIO:
    """What the image is built from, as an archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, text in (("Dockerfile", DOCKERFILE.format(built=built, venv=VENV)), ("activate", SHIM), ("kill", KILL)):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    packed.seek(0)
    return packed


async def make(instances: list[Instance], settings: SolveSettings, repos: Path) -> None:
    """Build what is not built, and name it."""
    sandbox = DockerSandbox(settings.workers)
    try:
        for instance in instances:
            assert instance.environment is not None
            name = instance.environment.image.removeprefix("docker.io/")
            own = settings.model_copy(update={"repo": str(repos / instance.repo.replace("/", "__"))})
            inputs = inputs_of(instance, own)
            with inputs.repository:
                settled = await prepare(sandbox, replace(inputs, test=NOTHING), own, print)
            image_for(sandbox.engine.client, settled.environment.location, name)
            print(f"{instance.id}: {name}")
    finally:
        await sandbox.close()


def main() -> None:
    """Read the arguments and make the images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--dataset", "--install-specs", "--repos", "--instances"):
        parser.add_argument(name, required=True)
    asked = parser.parse_args()
    settings = validated({"dataset": asked.dataset, "install_specs": asked.install_specs, "sandbox": "docker"})
    asyncio.run(make(load(asked.dataset).chosen(asked.instances), settings, Path(asked.repos)))


if __name__ == "__main__":
    main()
