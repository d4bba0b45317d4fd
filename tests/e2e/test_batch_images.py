"""A batch that makes room as it goes: the environments of its finished instances are removed, the others stay."""

import secrets

import docker
import pytest

from tests.e2e.batches import Batch
from tests.e2e.playing import serving
from tests.e2e.splits import Crowd, make_split

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def batch(tmp_path, runoff):
    """Over repositories that no other test has; what is built for them is removed in the end."""
    token = secrets.token_hex(6)
    owners = [f"runoff-test-{token}-{number}" for number in range(3)]
    rows, clones = make_split(tmp_path, 4, owners)
    player = Crowd([row["instance_id"] for row in rows])
    with serving(player) as spec:
        made = Batch((tmp_path, rows, clones, None), "mine", spec, player)
        made.run, made.owners = runoff.folder / "runs" / "mine", owners
        yield made
    client = docker.from_env()
    for image in built(client, owners):
        client.images.remove(image.id, force=True)
    client.close()


def built(client, owners):
    """Environments that were built for them, in order."""
    return [
        image for owner in owners for image in client.images.list(filters={"label": f"runoff.project={owner}/texttools"})
    ]


def test_environments_of_finished_instances(batch, runoff):
    """The fourth instance has the first one's repository, so that environment is kept for it."""
    flags = ("--sandbox", "docker", "--samples", 1, "--workers", 1, "--instances-at-once", 1, "--remove-images", "always")
    code, _, err = runoff(*batch.arguments(*flags), timeout=380)
    assert code == 0, err
    assert set(batch.predictions()) == set(batch.ids())
    assert "images of finished instances, at least" in err
    client = docker.from_env()
    left = [image.labels["runoff.project"].partition("/")[0] for image in built(client, batch.owners)]
    client.close()
    assert batch.owners[0] in left, "it was in use to the end"
    assert batch.owners[1] not in left
