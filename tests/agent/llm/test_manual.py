"""Requests that a person answers with files."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from pathlib import Path

import pytest

from agent.llm.manual_client import ManualClient
from agent.llm.messages import Message, Part, Reply, Request, StopReason, Usage
from agent.llm.specs import check
from sandbox.errors import InputError
from tests.agent.llm.dialects import ask, key


def client_of(folder: Path) -> ManualClient:
    return ManualClient(f"manual:{folder}", folder, poll_seconds=0.01)


def files(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def answer(folder: Path, number: str, text: str) -> None:
    (folder / "draft").write_text(text, encoding="utf-8")
    (folder / "draft").rename(folder / f"{number}.reply.md")


async def until(folder: Path, *names: str) -> None:
    async with asyncio.timeout(5):
        while not all((folder / name).exists() for name in names):  # noqa: ASYNC110  the other side is a file system
            await asyncio.sleep(0.01)


async def test_round_trip(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    messages = (
        Message("system", (Part("rules", "Be brief."),)),
        Message("user", (Part("issue", "Is it "), Part("step", "broken? ✓"))),
        Message("assistant", (Part("reply", "Yes."),)),
        Message("user", (Part("feedback", "Then mend it."),)),
    )
    request = Request(messages, temperature=0.5, max_tokens=99)
    task = asyncio.create_task(client_of(folder).complete(request, key(3, 1)))
    await until(folder, "0001.request.json", "0001.request.md")
    asked = json.loads((folder / "0001.request.json").read_text())
    assert asked["key"] == {"instance": "demo__one-1", "stage": "testing", "sample": 3, "branch": "", "sequence": 1}
    assert asked["messages"][1] == {"role": "user", "content": "Is it broken? ✓"}
    assert (asked["temperature"], asked["max_tokens"], asked["digest"]) == (0.5, 99, request.digest)
    head, _, rest = (folder / "0001.request.md").read_text().partition("\n")
    assert ("testing" in head, "sample 3" in head, "turn 2" in head) == (True, True, True)
    assert all(text in rest for text in ("Be brief.", "Is it broken? ✓", "Yes.", "Then mend it.", "0001.reply.md"))
    assert not task.done()
    answer(folder, "0001", "Mended ✓\n")
    assert await task == Reply("Mended ✓\n", Usage(), None, "manual", StopReason.END)
    assert [path.name for path in folder.glob(".*")] == []


async def test_several_are_open_at_once(tmp_path: Path) -> None:
    client = client_of(tmp_path)
    tasks = [asyncio.create_task(client.complete(ask(), key(sample))) for sample in range(3)]
    await until(tmp_path, "0001.request.md", "0002.request.md", "0003.request.md")
    for number in (3, 1, 2):
        sample = json.loads((tmp_path / f"{number:04d}.request.json").read_text())["key"]["sample"]
        answer(tmp_path, f"{number:04d}", f"for {sample}")
    assert [reply.text for reply in await asyncio.gather(*tasks)] == ["for 0", "for 1", "for 2"]


async def test_interrupted_run_does_not_ask_twice(tmp_path: Path) -> None:
    first = [asyncio.create_task(client_of(tmp_path).complete(ask(), key(sample))) for sample in range(2)]
    await until(tmp_path, "0001.request.md", "0002.request.md")
    for task in first:
        task.cancel()
    await asyncio.gather(*first, return_exceptions=True)
    answer(tmp_path, "0001", "early")
    client = client_of(tmp_path)
    assert (await client.complete(ask(), key(0))).text == "early"
    late = asyncio.create_task(client.complete(ask(), key(1)))
    other = asyncio.create_task(client.complete(ask("Something else."), key(1)))
    await until(tmp_path, "0003.request.md")
    answer(tmp_path, "0002", "late")
    answer(tmp_path, "0003", "other")
    assert [(await late).text, (await other).text] == ["late", "other"]
    assert not (tmp_path / "0004.request.json").exists()


async def test_empty_reply_is_a_reply(tmp_path: Path) -> None:
    task = asyncio.create_task(client_of(tmp_path).complete(ask(), key()))
    await until(tmp_path, "0001.request.md")
    answer(tmp_path, "0001", "")
    assert (await task).text == ""


async def test_readable_half_that_was_lost_is_written_again(tmp_path: Path) -> None:
    task = asyncio.create_task(client_of(tmp_path).complete(ask(), key()))
    await until(tmp_path, "0001.request.md")
    task.cancel()
    (tmp_path / "0001.request.md").unlink()
    (tmp_path / "0002.request.json").write_text("{damaged")
    again = asyncio.create_task(client_of(tmp_path).complete(ask(), key()))
    await until(tmp_path, "0001.request.md")
    again.cancel()
    await asyncio.gather(task, again, return_exceptions=True)


def publish(folder: str, sample: int, requests: int) -> None:
    async def several() -> None:
        client = client_of(Path(folder))
        async with asyncio.timeout(20):
            await asyncio.gather(*(client.complete(ask(), key(sample, number)) for number in range(requests)))

    asyncio.run(several())


async def test_processes_never_take_one_number(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=publish, args=(str(tmp_path), sample, 15)) for sample in range(2)]
    for process in processes:
        process.start()
    await until_count(tmp_path, 30)
    for number in range(1, 31):
        answer(tmp_path, f"{number:04d}", "done")
    for process in processes:
        await asyncio.to_thread(process.join, 20)
        assert process.exitcode == 0
    keys = [json.loads(path.read_text())["key"] for path in files(tmp_path, "*.request.json")]
    assert len({(each["sample"], each["sequence"]) for each in keys}) == len(keys) == 30


async def until_count(folder: Path, count: int) -> None:
    async with asyncio.timeout(30):
        while len(files(folder, "*.request.md")) < count:  # noqa: ASYNC110  the other side is a file system
            await asyncio.sleep(0.02)


async def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as raised:
        await check(client_of(tmp_path / "file" / "desk"))
    assert raised.value.exit_code == 2
    await check(client_of(tmp_path / "desk"))
