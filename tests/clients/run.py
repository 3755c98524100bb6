"""The client for Python against a running server: run.py BASE_URL TOKEN

What stands behind the server says what the user's last words tell it, and whoever runs this does what lines in
capitals ask for and answers each with one line (see crates/are/tests/it/clients.rs). Each case prints its name; the
last line says how many there were.
"""

import asyncio
import pathlib
import sys
from urllib.parse import urlsplit

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "clients"))

import are  # noqa: E402

BASE, TOKEN = sys.argv[1], sys.argv[2]
CASES = []


def case(work):
    CASES.append(work)
    return work


async def ask(line):
    print(line, flush=True)
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


class Wire:
    """Stands between client and server; it can be cut, and can lose what one of them says."""

    def __init__(self, port):
        self.port = port
        self.writers = set()
        self.loses_words = self.loses_answers = self.is_broken = False
        self.has_lost = asyncio.Event()

    async def open(self):
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.url = f"http://localhost:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def connected(self, near_reader, near):
        try:
            if self.is_broken:
                raise ConnectionRefusedError
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            near.close()
            return
        self.writers |= {near, far}
        await asyncio.gather(
            self.carry(near_reader, far, lambda: self.loses_words), self.carry(far_reader, near, lambda: self.loses_answers)
        )
        self.writers -= {near, far}

    async def carry(self, reader, writer, is_lost):
        try:
            while data := await reader.read(65536):
                if is_lost():
                    self.has_lost.set()
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def cut(self):
        self.loses_words = self.loses_answers = False
        self.has_lost.clear()
        for writer in self.writers:
            writer.transport.abort()

    def break_off(self):
        self.is_broken = True
        self.cut()


class Events(list):
    """Everything that is told of a session, which must be without gap and repetition."""

    def __call__(self, event):
        if event["type"] == "reset":
            self.clear()
        if "seq" not in event or event["type"] == "reset":
            return
        if self:
            assert event["seq"] == self[-1].get("last", self[-1]["seq"]) + 1, event
        self.append(event)

    def types(self):
        return [event["type"] for event in self]


async def refused(code, work):
    try:
        await work
    except are.AreError as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"not refused with {code}")


async def text(turn):
    said = "".join([piece async for piece in turn])
    assert said == turn.text, (said, turn.text)
    return said


async def count(words):
    return int(await ask(f"COUNT {words}"))


async def restart(wire, how):
    wire.port = urlsplit(await ask(how)).port


@case
async def a_prompt_is_answered_piece_by_piece_with_events_beside(wire, connect):
    events, own = Events(), []
    session = await connect(on_event=events)
    turn = session.prompt("say one two three", on_event=own.append)
    assert await text(turn) == "one two three"
    assert (turn.number, turn.outcome, turn.stop_reason) == (1, "completed", "stop"), vars(turn)
    assert (events[0]["type"], own[0]["type"], own[-1]["type"]) == ("session_created", "turn_started", "turn_completed")
    assert session.seq == events[-1]["seq"]
    assert await text(session.prompt([{"type": "text", "text": "say again"}])) == "again"
    assert await text(turn) == "one two three"


@case
async def an_opinion_of_a_turn_is_kept(wire, connect):
    events = Events()
    session = await connect(on_event=events)
    turn = await session.prompt("say x").done()
    await turn.feedback("up", "good")
    await session.prompt("say y").done()
    kept = [event for event in events if event["type"] == "feedback"]
    assert [(one["rating"], one["note"]) for one in kept] == [("up", "good")]


@case
async def a_call_runs_when_it_is_allowed_and_not_when_it_is_denied(wire, connect):
    shown = []

    async def allow(request):
        shown.append(request)
        return "allow_once"

    def deny(request):
        shown.append(request)
        return "deny"

    assert "ok" in await text((await connect(on_approval=allow)).prompt("call fs_write"))
    assert "denied" in await text((await connect(on_approval=deny)).prompt("call fs_write"))
    assert [(one["tool"], one["args"]["path"]) for one in shown] == [("fs_write", "made.txt")] * 2
    # Nobody here answers, and the server is told so: it does not wait.
    assert "denied" in await text((await connect()).prompt("call fs_write"))


@case
async def an_answer_to_an_approval_survives_the_connection(wire, connect):
    def after_a_cut(_):
        wire.cut()
        return "allow_once"

    assert "ok" in await text((await connect(on_approval=after_a_cut)).prompt("call fs_write"))

    def unheard(_):
        wire.loses_answers = True
        return "allow_once"

    # Taken by the server, and its acknowledgement lost: the journal says that it is done.
    turn = (await connect(on_approval=unheard)).prompt("call fs_write lost")
    waiting = {asyncio.ensure_future(ask("RESULT call fs_write lost")), asyncio.ensure_future(turn.done())}
    for ended in (await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))[0]:
        ended.result()
    wire.cut()
    assert "ok" in await text(turn)


@case
async def an_approval_can_be_answered_by_another_client(wire, connect):
    asked = asyncio.get_running_loop().create_future()
    first = await connect(
        headless=False, on_event=lambda event: event["type"] == "approval_requested" and asked.set_result(event)
    )
    turn = first.prompt("call fs_write")
    request = await asked
    await refused("ARE-0603", first.approve({**request, "digest": "0" * 64}, "allow_once"))
    second = await connect(session=first.key, headless=False)
    await second.approve(request, "deny")
    assert "denied" in await text(turn)
    await refused("ARE-0602", second.approve(request, "allow_once"))


@case
async def a_turn_is_steered_and_cancelled(wire, connect):
    session = await connect()
    turn = session.prompt("hold one two")
    async for piece in turn:
        assert piece == "one "
        break
    await turn.steer("hold three four")
    await ask("AWAIT hold three four")
    await turn.cancel()
    assert (await turn.done()).outcome == "cancelled"
    await refused("ARE-0310", turn.cancel())
    await refused("ARE-0310", turn.steer("more"))


@case
async def refusals_are_typed(wire, connect):
    wrong = await refused("ARE-0202", are.connect(wire.url, token="are_wrong"))
    assert wrong.help and not wrong.retryable
    await refused("ARE-0201", are.connect(wire.url))
    await refused("ARE-0301", connect(session="0197a000-0000-7000-8000-000000000000"))
    assert (await refused("ARE-0105", are.connect("http://127.0.0.1:9"))).retryable
    session = await connect()
    await refused("ARE-0206", text(session.prompt("")))
    await refused("ARE-0206", session.prompt("say x", temperature=3).started())
    assert await text(session.prompt("say same", request_id="python-same")) == "same"
    await refused("ARE-0304", text(session.prompt("say other", request_id="python-same")))
    failed = session.prompt("fail")
    await refused("ARE-0403", text(failed))
    assert failed.outcome == "failed" and failed.error.help
    await session.close()
    await refused("ARE-0105", session.prompt("say x").done())


@case
async def a_cut_connection_loses_and_repeats_nothing(wire, connect):
    events, said = Events(), ""
    session = await connect(on_event=events)
    turn = session.prompt("slow one two three")
    await ask("RELEASE 1")
    async for piece in turn:
        said += piece
        if said == "one ":
            wire.cut()
            # Two words, and what ends the answer.
            await ask("RELEASE 5")
    assert said == "one two three", said
    assert events[-1]["type"] == "turn_completed"
    assert await count("slow one two three") == 1


@case
async def a_prompt_whose_acknowledgement_was_lost_is_the_same_turn(wire, connect):
    session = await connect()
    await session.prompt("say before").done()
    wire.loses_answers = True
    turn = session.prompt("say just once")
    await ask("AWAIT say just once")
    wire.cut()
    assert await text(turn) == "just once"
    assert (turn.number, await count("say just once")) == (2, 1)


@case
async def what_the_connection_lost_is_known_from_the_journal(wire, connect):
    session = await connect()
    turn = session.prompt("hold one two")
    async for _ in turn:
        break
    # Heard by the server, unlike the next one.
    wire.loses_answers = True
    heard = asyncio.ensure_future(turn.steer("hold seven eight"))
    await ask("AWAIT hold seven eight")
    wire.cut()
    await heard
    wire.has_lost.clear()
    wire.loses_words = True
    unheard = asyncio.ensure_future(turn.steer("hold five six"))
    await wire.has_lost.wait()
    wire.cut()
    assert (await refused("ARE-0105", unheard)).retryable
    # What may be said twice is.
    wire.loses_words = True
    stopped = asyncio.ensure_future(turn.cancel())
    await wire.has_lost.wait()
    wire.cut()
    await stopped
    assert (await turn.done()).text == "one seven "
    assert await count("hold five six") == 0


@case
async def a_killed_server_is_waited_for_and_the_text_is_the_same(wire, connect):
    session = await connect(on_event=Events())
    turn, said = session.prompt("again one two three"), ""
    async for piece in turn:
        said += piece
        if said == "one ":
            await restart(wire, "KILL")
    assert said == turn.text == "one two three", said


@case
async def other_words_after_a_restart_are_told(wire, connect):
    for is_told in (True, False):
        session = await connect()
        said = []
        turn = session.prompt(f"change {is_told}", on_restart=said.clear if is_told else None)

        async def read():
            async for piece in turn:
                said.append(piece)
                if said == ["one "]:
                    await restart(wire, "KILL")

        if is_told:
            await read()
            assert "".join(said) == "other words", said
        else:
            await refused("ARE-0405", read())
        assert (await turn.done()).text == "other words"


@case
async def a_journal_of_another_epoch_is_read_from_its_beginning(wire, connect):
    events, resets = Events(), []

    def hear(event):
        events(event)
        if event["type"] == "reset":
            resets.append(event)

    session = await connect(on_event=hear)
    await session.prompt("say before").done()
    epoch = session.epoch
    turn, said = session.prompt("again four five"), ""
    async for piece in turn:
        said += piece
        if said == "four ":
            await restart(wire, "MOVE")
    assert (said, turn.text, turn.number, len(resets)) == ("four five", "four five", 2, 1)
    assert session.epoch > epoch
    assert (events[0]["seq"], events[-1]["type"]) == (1, "turn_completed")


@case
async def a_later_client_goes_on_where_an_earlier_one_stopped(wire, connect):
    first = await connect()
    await first.prompt("say for later", request_id="python-later").done()
    known = {"session": first.key, "after": first.seq, "epoch": first.epoch}
    await first.close()
    events = Events()
    second = await connect(**known, on_event=events)
    await second.prompt("say more").done()
    assert (events[0]["type"], events[0]["seq"]) == ("turn_started", known["after"] + 1)
    # The same request is the same turn, with all of its text, although it began before what is followed.
    again = second.prompt("say for later", request_id="python-later")
    assert (await text(again), again.number) == ("for later", 1)
    assert await count("say for later") == 1
    # What is not of this journal is reset.
    seen = []
    lost = await connect(session=first.key, after=9999, on_event=seen.append)
    await lost.prompt("say end").done()
    assert [event["type"] for event in seen[:2]] == ["reset", "session_created"]


@case
async def a_server_that_stays_away_is_given_up(wire, connect):
    session = await connect(reconnect_seconds=0)
    turn = session.prompt("hold one two")
    await turn.started()
    wire.break_off()
    assert (await refused("ARE-0105", turn.done())).retryable
    assert session.error.code == "ARE-0105"


async def main():
    wire = await Wire(urlsplit(BASE).port).open()
    for work in CASES:
        opened = []

        async def connect(**how):
            opened.append(await are.connect(wire.url, token=TOKEN, **how))
            return opened[-1]

        await work(wire, connect)
        for session in opened:
            await session.close()
        print(work.__name__, flush=True)
    print(f"{len(CASES)} cases hold")


asyncio.run(main())
