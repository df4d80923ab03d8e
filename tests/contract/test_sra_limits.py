# ruff: noqa: E501 (XML does not break well)
"""The SRA adapter against programs that hang, lie, shout or die: small stub adapters, real child processes."""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.lab.processes import Identity

from resurgo.adapters.replication.sra import Array, Jobs, Program, SraEndpoint, find_command
from resurgo.domain.errors import InvalidPlan, Missing, NotAllowed, NotSupported, OutcomeUnknown, Unreachable
from resurgo.domain.replication import Access, Capability, GroupRef, Phase, Role

ACCESS = Access("c2", (("NFS", "192.0.2.21"),))
REF = GroupRef("cg", "key-cg")
SECRET = "s3cret-of-the-array"
NS = "http://www.vmware.com/srm/sra/v2"

# A stub in Python: answers come from files beside it, what it was given goes to files beside it.
STUB = """#!/usr/bin/env python3
import os, re, sys, time, signal
here = os.path.dirname(os.path.abspath(__file__))
request = sys.stdin.read()
name = re.search("<Name>(.*?)</Name>", request).group(1)
output = re.search("<OutputFile>(.*?)</OutputFile>", request).group(1)
status = re.search("<StatusFile>(.*?)</StatusFile>", request).group(1)
with open(here + "/calls", "a") as calls:
    calls.write(name + "\\n")
with open(here + "/seen-" + name, "w") as seen:
    seen.write(repr(sys.argv) + "\\n" + repr(dict(os.environ)) + "\\n" + request)
def answer(text, code=0):
    with open(output, "w") as file:
        file.write(text)
    sys.exit(code)
behaviour = here + "/do-" + name
if os.path.exists(behaviour):
    exec(open(behaviour).read())
answer(open(here + "/answer-" + name).read())
"""


def response(body: str) -> str:
    return f'<?xml version="1.0"?><Response xmlns="{NS}">{body}</Response>'


def commands(*names: str) -> str:
    listed = "".join(f'<Command name="{n}"/>' for n in names)
    return response(f"<AdapterCapabilities><Unknown/><Commands>{listed}</Commands></AdapterCapabilities>")


TARGET = '<TargetDevices><TargetDevice key="d1" state="{0}"><Name>one</Name></TargetDevice></TargetDevices>'
GROUP = (
    '<TargetGroups><TargetGroup key="key-cg" id="cg" state="{0}"><TargetDevices><TargetDevice key="d1"/></TargetDevices>'
    "<NeverHeardOf/></TargetGroup></TargetGroups>"
)


def devices(state: str) -> str:
    return response(f"<ReplicatedDevices>{(GROUP + TARGET).format(state)}</ReplicatedDevices>")


def failed_over(inner: str) -> str:
    return response(
        f'<FailoverResults><TargetGroups><TargetGroup key="key-cg">{inner}</TargetGroup></TargetGroups></FailoverResults>'
    )


@dataclass
class Stub:
    """One stub adapter and an endpoint over it."""

    folder: Path
    state: Path
    limit: float = 3.0
    counted: list[tuple[str, str, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        command = self.folder / "command"
        command.write_text(STUB)
        command.chmod(0o755)
        self.says("queryInfo", response("<AdapterInfo><Name>stub</Name><Version>1</Version></AdapterInfo>"))
        self.says("queryCapabilities", commands("discoverDevices", "failover", "syncOnce"))
        opaque = '<Opaques><Opaque id="stub.root"/></Opaques>'
        address = '<Addresses><Address id="stub.address"/></Addresses>'
        connection = f'<Connection id="stub">{address}{opaque}</Connection>'
        parameters = f"<AdapterConnectionParameters>{connection}</AdapterConnectionParameters>"
        self.says("queryConnectionParameters", response(parameters))
        known = '<ErrorDefinition code="-7"><Description>The lun is gone</Description><FixHint>Look</FixHint></ErrorDefinition>'
        self.says("queryErrorDefinitions", response(f"<ErrorDefinitions>{known}</ErrorDefinitions>"))
        self.says("discoverDevices", devices("read-only"))
        self.says("failover", failed_over("<Success/>"))

    def says(self, command: str, text: str) -> None:
        (self.folder / f"answer-{command}").write_text(text)

    def does(self, command: str, code: str) -> None:
        (self.folder / f"do-{command}").write_text(code)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()

    def endpoint(self, answer_within: float = 8, **array: object) -> SraEndpoint:
        program = Program(
            self.folder / "command",
            state_dir=self.state,
            limit=self.limit,
            on_call=lambda *call: self.counted.append(call),
        )
        settings = {"addresses": ("192.0.2.10",), "parameters": {"stub.root": "r"}, **array}
        return SraEndpoint(
            Array("leipzig", "array-lpz", "array-ber", credentials=lambda: ("dr", SECRET), **settings),  # type: ignore[arg-type]
            program,
            Jobs(self.state),
            answer_within=answer_within,
        )


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Stub]:
    made = Stub(tmp_path / "sra" / "stub", tmp_path / "state")
    yield made
    assert Jobs(made.state).running() == []


async def failover(endpoint: SraEndpoint):
    return await endpoint.failover(REF, op_id="run/failover/cg", planned=False, access=ACCESS)


async def until(check: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)


async def test_a_hanging_command_is_killed_at_its_limit_with_all_its_children(stub: Stub) -> None:
    stub.limit = 1.0
    stub.does(
        "discoverDevices",
        "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
        "open(here + '/child', 'w').write(str(child.pid))\nos.rename(here + '/child', here + '/child-pid')\nsignal.pause()",
    )
    started = time.monotonic()
    with pytest.raises(Unreachable, match="killed after 1 s"):
        await stub.endpoint().discover()
    assert time.monotonic() - started < 5
    pid = int((stub.folder / "child-pid").read_text())
    await until(lambda: Identity.of(pid) is None)


async def test_progress_restarts_the_limit(stub: Stub) -> None:
    stub.limit = 1.5
    stub.does("discoverDevices", "for i in range(8):\n    open(status, 'w').write(str(i))\n    time.sleep(0.5)")
    assert len(await stub.endpoint().discover()) == 1


async def test_a_change_that_was_killed_is_judged_by_the_array(stub: Stub) -> None:
    stub.limit = 1.0
    stub.does("failover", "signal.pause()")
    with pytest.raises(OutcomeUnknown, match="killed"):
        await failover(stub.endpoint())
    stub.does(
        "failover", f"open(here + '/answer-discoverDevices', 'w').write({devices('read-write')!r})\nsignal.pause()"
    )
    op = await failover(stub.endpoint())
    assert Phase.SUCCEEDED is op.phase
    assert "killed" in op.results[0].warnings[0]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("answer(open(here + '/answer-failover').read()[:60])", "can't be read"),
        ("sys.exit(0)", "wrote no answer"),
        ("sys.exit(255)", "exit code 255"),
        ("answer(open(here + '/answer-failover').read(), 3)", "exit code 3"),
        ("answer('<Other/>')", "not a Response"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "wrote no answer"),
    ],
    ids=["truncated", "nothing", "exit code", "answer with exit code", "not a response", "died"],
)
async def test_an_answer_that_can_not_be_trusted_is_no_success(stub: Stub, behaviour: str, said: str) -> None:
    stub.does("failover", behaviour)
    with pytest.raises(OutcomeUnknown, match=said):
        await failover(stub.endpoint())


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE r SYSTEM "http://192.0.2.1/x.dtd">',
    ],
    ids=["external entity", "entity", "external DTD"],
)
async def test_document_types_and_entities_are_refused(stub: Stub, head: str) -> None:
    stub.says("discoverDevices", devices("read-only").replace("<Response", f"{head}<Response"))
    with pytest.raises(Unreachable, match="can't be read"):
        await stub.endpoint().discover()


async def test_a_huge_answer_and_huge_logs_are_bounded(stub: Stub) -> None:
    stub.limit = 20
    stub.does("discoverDevices", "os.truncate(os.open(output, os.O_CREAT | os.O_WRONLY), 1 << 36)\nsys.exit(0)")
    with pytest.raises(Unreachable, match="larger than 16 MiB"):
        await stub.endpoint().discover()
    stub.does("discoverDevices", "for _ in range(200):\n    print('x' * 100000)\nsys.stdout.flush()")
    assert len(await stub.endpoint().discover()) == 1


async def test_a_command_that_is_not_listed_is_never_sent(stub: Stub) -> None:
    endpoint = stub.endpoint()
    assert await endpoint.capabilities() == {Capability.SYNC_NOW, Capability.PRESENTS_DEVICES}
    for call in (
        endpoint.prepare_failover(REF, op_id="x"),
        endpoint.restore(REF, op_id="x"),
        endpoint.test_start(REF, op_id="x", test_id="t", access=ACCESS),
        endpoint.reverse(REF, op_id="x", access=ACCESS),
    ):
        with pytest.raises(NotSupported):
            await call
    assert {c for c in stub.calls if not c.startswith("query")} == set()


async def test_what_an_adapter_says_of_itself_is_asked_once(stub: Stub) -> None:
    endpoint = stub.endpoint()
    await asyncio.gather(*(endpoint.discover() for _ in range(5)))
    assert stub.calls.count("queryCapabilities") == 1
    assert stub.calls.count("discoverDevices") <= 2  # those who ask while one runs share the next


async def test_secrets_go_to_stdin_and_nowhere_else(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = "print('logging in with', re.search('<Password>(.*?)<', request).group(1), flush=True)\n"
    words = f'<Error code="9"><Description>bad {SECRET}</Description><FixHint>not {SECRET}</FixHint></Error>'
    stub.does("failover", echo)
    stub.says("failover", failed_over(words))
    op = await failover(stub.endpoint())
    assert Phase.FAILED is op.phase
    assert "bad ***" in op.failure
    arguments, environment, request = (stub.folder / "seen-failover").read_text().split("\n", 2)
    assert SECRET in request
    assert SECRET not in arguments + environment
    assert "logging in with ***" in str([r.__dict__ for r in caplog.records])
    assert SECRET not in str([r.__dict__ for r in caplog.records])
    assert SECRET not in op.handle + repr(op) + repr(stub.counted)


async def test_the_environment_of_the_operator_is_not_passed_on(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESURGO_TOKEN", SECRET)
    await stub.endpoint().discover()
    assert SECRET not in (stub.folder / "seen-discoverDevices").read_text().split("\n")[1]


async def test_folders_of_commands_are_private_and_readings_leave_none(stub: Stub) -> None:
    await failover(stub.endpoint())
    assert {"jobs"} == {p.name for p in stub.state.iterdir()}
    folders = [stub.state, *(stub.state / "jobs").iterdir()]
    assert {0o700} == {stat.S_IMODE(f.stat().st_mode) for f in folders}


async def test_errors_take_the_items_words_or_those_of_their_code(stub: Stub) -> None:
    stub.says("failover", failed_over('<Error code="-7"/>'))
    assert "The lun is gone [code -7] (Look)" in (await failover(stub.endpoint())).failure
    stub.says("failover", failed_over('<Error code="-7"><Description>Lun 4</Description></Error>'))
    assert "Lun 4 [code -7] (Look)" in (await failover(stub.endpoint())).failure
    stub.says("failover", failed_over('<Error code="1077939726"/>'))
    assert "error code 1077939726" in (await failover(stub.endpoint())).failure
    stub.says("failover", failed_over(""))
    assert "skipped" in (await failover(stub.endpoint())).failure


async def test_an_item_that_raises_because_it_is_done_is_done(stub: Stub) -> None:
    stub.does("failover", f"open(here + '/answer-discoverDevices', 'w').write({devices('read-write')!r})")
    stub.says("failover", failed_over('<Error code="-7"/>'))
    op = await failover(stub.endpoint())
    assert Phase.SUCCEEDED is op.phase
    assert all(r.already for r in op.results)


async def test_a_refused_login_is_told_from_an_array_that_does_not_answer(stub: Stub) -> None:
    wrong = response('<Error code="5"><Description>Invalid password</Description></Error>')
    stub.does("discoverDevices", f"answer({wrong!r}, 255)")
    with pytest.raises(NotAllowed, match="Invalid password"):
        await stub.endpoint().discover()
    stub.does("discoverDevices", "answer('<Response><Error code=\"100\"/></Response>', 255)")
    with pytest.raises(Unreachable, match="error code 100"):
        await stub.endpoint().discover()


async def test_settings_the_adapter_does_not_know_are_refused_by_name(stub: Stub) -> None:
    with pytest.raises(InvalidPlan, match=r"stub\.rot"):
        await stub.endpoint(parameters={"stub.rot": "r"}).discover()
    with pytest.raises(InvalidPlan, match="2 addresses"):
        await stub.endpoint(addresses=("a", "b")).discover()


async def test_a_stray_poll_after_everything_is_gone_is_judged_by_the_array(stub: Stub) -> None:
    op = await failover(stub.endpoint())
    fresh = Stub(stub.folder.with_name("other"), stub.state.with_name("elsewhere"))
    fresh.says("discoverDevices", devices("read-write"))
    assert Phase.SUCCEEDED is (await fresh.endpoint().poll(op.handle)).phase
    assert Role.FAILED_OVER is (await fresh.endpoint().status(REF)).role


class TestFindCommand:
    """Which file may be run."""

    def install(self, tmp_path: Path, mode: int = 0o755) -> Path:
        command = tmp_path / "sra" / "good" / "command"
        command.parent.mkdir(parents=True, mode=0o755)
        command.write_text("#!/bin/sh\n")
        command.chmod(mode)
        return command

    def test_finds_the_command_by_the_adapters_name(self, tmp_path: Path) -> None:
        command = self.install(tmp_path)
        assert command.resolve() == find_command(tmp_path / "sra", "good")

    @pytest.mark.parametrize("name", ["", ".", "..", "../good", "good/../good", "/bin/sh", "a b", "good\n", "-x"])
    def test_refuses_names_that_are_none(self, tmp_path: Path, name: str) -> None:
        self.install(tmp_path)
        with pytest.raises(InvalidPlan):
            find_command(tmp_path / "sra", name)

    def test_says_what_there_is(self, tmp_path: Path) -> None:
        self.install(tmp_path)
        with pytest.raises(Missing, match="installed: good"):
            find_command(tmp_path / "sra", "bad")

    @pytest.mark.parametrize("mode", [0o644, 0o775, 0o757])
    def test_refuses_what_is_not_executable_or_writable_by_others(self, tmp_path: Path, mode: int) -> None:
        self.install(tmp_path, mode)
        with pytest.raises(NotAllowed):
            find_command(tmp_path / "sra", "good")

    def test_refuses_links_that_lead_out(self, tmp_path: Path) -> None:
        self.install(tmp_path)
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "command").write_text("#!/bin/sh\n")
        (outside / "command").chmod(0o755)
        (tmp_path / "sra" / "linked").symlink_to(outside)
        with pytest.raises(NotAllowed, match="link"):
            find_command(tmp_path / "sra", "linked")
