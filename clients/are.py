"""A client of the Agent Runtime Engine in one file: for Python from 3.10 on, with `websockets` (13 or newer).

It speaks `are.v2` (docs/reference/websocket.md): one `Session` follows one session of the server over one socket at a
time. A lost connection is made again by itself; every event is told once and in order, and every prompt has a
`request_id`, so that nothing is done twice. What a turn said stands in `Turn.text`, which is always what the journal
holds: text that became void is taken out again.

    async with await are.connect("http://localhost:8888", token=token) as session:
        async for piece in session.prompt("Write a haiku"):
            print(piece, end="", flush=True)
"""

import asyncio
import inspect
import itertools
import json
import time
import uuid
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

__all__ = ["AreError", "Session", "Turn", "connect"]

# Seconds for which a lost server is waited for, unless told otherwise.
RECONNECT_SECONDS = 30.0
# First pause between attempts in seconds, doubled up to the longest.
PAUSE_SECONDS = 0.05
PAUSE_LONGEST_SECONDS = 1.0
# After so many seconds of silence the server is asked whether it lives; after as many more it is gone.
HEARTBEAT_SECONDS = 30.0
# Seconds for opening a socket, and for attaching.
OPEN_SECONDS = 10.0
# Requests that may wait for their answers at once.
REQUESTS_MAX = 256
# Bytes of one message: more than a stored tool result and its envelope.
MESSAGE_BYTES_MAX = 16 << 20
# Closes and errors that another connection cures: the server restarts, or this reader was too slow.
CURABLE = {"ARE-0212", "ARE-0213"}
CURABLE_CLOSES = {1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014}
# Events that do not say whose text follows: of a prompt that waits, or of a turn that is over.
BESIDE = {"turn_started", "firewall", "feedback"}
ENDS = {"turn_completed": "completed", "turn_failed": "failed", "turn_cancelled": "cancelled"}


class AreError(Exception):
    """A refusal or failure. `code` is `ARE-NNNN`, which has a page in the documentation."""

    def __init__(self, code, message, help="", retryable=False, retry_after_ms=None):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        # What to do about it.
        self.help = help
        # True when the same may succeed later.
        self.retryable = retryable
        # Milliseconds after which to try again, where the server says so.
        self.retry_after_ms = retry_after_ms

    @classmethod
    def of(cls, told):
        """From an `error` of the protocol or a problem document."""
        fields = ("help", "retryable", "retry_after_ms")
        known = {name: told[name] for name in fields if told.get(name) is not None}
        return cls(told["code"], told.get("message") or "no more is known", **known)


def _lost(why):
    return AreError("ARE-0105", why, "check that the server runs and try again", retryable=True)


async def connect(
    url, *, token=None, session=None, after=None, epoch=None, agent=None, thread=None, on_event=None, on_approval=None,
    headless=None, reconnect_seconds=RECONNECT_SECONDS,
):
    """Connects and attaches to a session, a new one unless `session` (a key) names one.

    `after` and `epoch` say where an earlier client stopped (`seq` and `epoch` of its `Session`); without `after` an
    existing session is followed from its end. `agent` is that of a new session; `thread` names the place that is spoken
    from. `on_event(event)` hears every event of the session, once and in order. `on_approval(request)`, which may be a
    coroutine function, answers what needs a person: `allow_once`, `allow_session`, `allow_always`, `deny`, or None to
    leave it to others. `headless` is true where nobody answers approvals: without `on_approval`, unless told otherwise.

    Raises `AreError`: ARE-0202 for a wrong token, ARE-0301 for an unknown session, ARE-0105 when nobody answers.
    """
    made = Session(url, token, session, after, epoch, agent, thread, on_event, on_approval, headless, reconnect_seconds)
    await made._open()
    return made


class Session:
    """One session of the server, followed. Made by `connect`; used in one event loop."""

    def __init__(
        self, url, token, session, after, epoch, agent, thread, on_event, on_approval, headless, reconnect_seconds
    ):
        scheme, place, path, _, _ = urlsplit(url)
        self._url = urlunsplit((scheme.replace("http", "ws"), place, path.rstrip("/") + "/ws", "", ""))
        self._token = token
        self._how = {"thread": thread, "headless": on_approval is None if headless is None else headless}
        self._agent = agent
        self._on_event = on_event
        self._on_approval = on_approval
        self._reconnect_seconds = reconnect_seconds
        # The key, by which the session is found again.
        self.key = session
        # The journal's epoch; another one means that entries which were seen may be lost.
        self.epoch = epoch
        # Why the session is not followed any more; None while it is.
        self.error = None
        # Last entry that was taken in, and the last one that `on_event` was told.
        self._seen = after if session else 0
        self._told = self._seen or 0
        # Where the journal ended when the socket attached; None once that is reached.
        self._end = None
        # True while what still comes is not what was asked for last.
        self._is_rewinding = False
        # The turn whose text comes now.
        self._current = None
        # Requests by `id`, in the order in which they were made.
        self._requests = {}
        self._ids = itertools.count(1)
        # Turns that have not ended, in the order in which they were begun.
        self._active = []
        # Approvals that wait, by number.
        self._asked = {}
        # What is to be sent over the open socket; None while there is none.
        self._out = None
        self._lost_at = None
        self._attached = None
        self._tasks = set()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    @property
    def seq(self):
        """Number of the last entry that was seen; with `epoch` what a later client goes on from."""
        return max(self._seen or 0, self._told)

    def prompt(
        self, content, *, request_id=None, on_event=None, on_restart=None, if_busy=None, **wishes,
    ):
        """Says something: a text, or a list of parts. Returns its `Turn` at once; a refusal comes out of that.

        The same `request_id` again is the same turn, also after a crash; it is made up when absent. `on_event(event)`
        hears the turn's events; `on_restart()`: see `Turn`. `if_busy` is `reject` or `queue`; to steer, call `steer`.
        `wishes`: `model`, `temperature`, `effort`, `adaptive`, `integrity` (`untrusted` for what is not the user's own
        words), `allow_flagged`.
        """
        if if_busy == "steer":
            raise ValueError("to steer a turn, call its `steer`")
        frame = {**wishes, "type": "prompt", "request_id": request_id or str(uuid.uuid4()), "content": content}
        if if_busy is not None:
            frame["if_busy"] = if_busy
        turn = Turn(self, frame, on_event, on_restart)
        self._active.append(turn)
        self._start(self._say(turn))
        return turn

    async def steer(self, turn, content):
        """Says something to a turn that runs: the model stops, hears it and goes on."""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content

        def is_done(event):
            return event["type"] == "steered" and event.get("turn") == turn and event.get("content") == parts

        return await self._ask({"type": "steer", "turn": turn, "content": content}, is_done)

    async def feedback(self, turn, rating=None, note=None):
        """Keeps an opinion of a turn: `rating` (`up` or `down`), `note`, or both."""
        opinion = {"rating": rating, "note": note}

        def is_done(event):
            is_meant = event["type"] == "feedback" and event.get("turn") == turn
            return is_meant and all(event.get(name) == value for name, value in opinion.items())

        said = {name: value for name, value in opinion.items() if value is not None}
        return await self._ask({"type": "feedback", "turn": turn, **said}, is_done)

    async def cancel(self, turn):
        """Stops a turn."""

        def is_done(event):
            return event["type"] == "turn_cancelled" and event.get("turn") == turn

        return await self._ask({"type": "cancel", "turn": turn}, is_done, is_repeatable=True)

    async def approve(self, request, decision):
        """Answers an `approval_requested` event, for exactly what it shows."""
        number = request["approval"]

        def is_done(event):
            is_meant = event["type"] == "approval_resolved" and event["approval"] == number
            return is_meant and event["decision"] == decision

        frame = {"type": "approve", "approval": number, "digest": request["digest"], "decision": decision}
        return await self._ask(frame, is_done, is_repeatable=True)

    async def close(self):
        """Ends the connection. What runs at the server goes on."""
        self._fail(_lost("the session was closed here"))
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self):
        self._attached = asyncio.get_running_loop().create_future()
        self._start(self._run())
        try:
            await self._attached
        except BaseException:
            await self.close()
            raise

    def _start(self, work):
        # Kept, because the event loop itself holds tasks only weakly.
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Requests and their answers.

    async def _say(self, turn):
        try:
            # A turn's own prompt may be sent again and again: its `request_id` makes it the same turn.
            await self._ask(turn._frame, turn=turn)
        except AreError as error:
            if turn in self._active:
                self._active.remove(turn)
            turn._fail(error)

    async def _ask(self, frame, is_done=None, is_repeatable=False, turn=None):
        if self.error:
            raise self.error
        if len(self._requests) >= REQUESTS_MAX:
            raise AreError("ARE-0704", f"{REQUESTS_MAX} requests wait already", "wait for their answers", retryable=True)
        request = _Request({**frame, "id": next(self._ids)}, is_done, is_repeatable, turn)
        self._requests[request.frame["id"]] = request
        if self._out:
            self._send(request)
        return await request.answer

    def _send(self, request):
        request.is_sent = True
        self._out.put_nowait(request.frame)

    def _answered(self, frame):
        request = self._requests.pop(frame["id"], None)
        if not request:
            return
        if frame["type"] == "error":
            request.reject(AreError.of(frame))
            return
        turn = request.turn
        if turn and turn.number is None and turn in self._active:
            turn._began(frame["turn"], frame["seq"])
            if frame["seq"] <= self._seen:
                self._rewind()
        request.resolve(frame.get("turn"), frame["seq"])

    def _rewind(self):
        """A turn began before what is followed: all that run are read again from where the first of them began."""
        running = [turn for turn in self._active if turn.number is not None]
        for turn in running:
            turn._void("")
        self._seen = min(turn._first for turn in running) - 1
        self._current = None
        self._is_rewinding = True
        self._out.put_nowait(self._request())

    # What the server says.

    def _take(self, message):
        if isinstance(message, list):
            seq, last, text = message if len(message) == 3 else (message[0], message[0], message[1])
            self._entry({"type": "text", "turn": self._current, "seq": seq, "last": last, "text": text}, last)
        elif message["type"] in ("attached", "reset"):
            self._follow(message)
        elif message["type"] in ("ack", "error") and "id" in message:
            self._answered(message)
        elif message["type"] == "error":
            # No answer to a request: the session is followed no longer.
            raise AreError.of(message)
        elif "seq" in message:
            self._entry(message, message["seq"])
        elif message["type"] != "pong":
            self._hear(message)

    def _entry(self, event, last):
        if self._is_rewinding or (self._seen is not None and last <= self._seen):
            return
        self._seen = last
        number = event.get("turn")
        if event["type"] not in BESIDE and event["type"] != "text" and number is not None:
            self._current = number
        own = []
        for turn in list(self._active):
            if event["type"] == "turn_started" and event.get("request_id") == turn.request_id:
                turn._began(number, last)
            if turn.number is None or turn.number != number:
                continue
            own.append(turn)
            turn._take(event)
            if turn.outcome:
                self._active.remove(turn)
        self._settle(event)
        if last > self._told:
            self._told = last
            self._hear(event, own)
            self._approvals(event)
        if self._end is not None and last >= self._end:
            self._caught_up()

    def _hear(self, event, turns=()):
        for listener in [self._on_event, *(turn._on_event for turn in turns)]:
            if listener is not None:
                listener(event)

    def _follow(self, message):
        """Attached, or told that what is known here is not of this journal."""
        self._is_rewinding = False
        self.key = message["session"]
        self.epoch = message["epoch"]
        self._end = message["seq"]
        if message["type"] == "reset":
            self._seen = self._told = 0
            self._current = None
            self._asked.clear()
            self._hear(message)
            for turn in self._active:
                is_known = turn.number is not None
                turn._began(None, None)
                turn._void("")
                # If the journal lost it, it is begun again; else this is the same turn.
                if is_known:
                    self._start(self._say(turn))
        elif self._seen is None:
            self._seen = self._told = message["seq"]
            self._current = message.get("turn")
        if self._seen >= self._end:
            self._caught_up()

    def _caught_up(self):
        """What happened up to attaching is known."""
        self._end = None
        for request in [request for request in self._requests.values() if request.is_doubtful]:
            request.is_doubtful = False
            if request.is_repeatable:
                self._send(request)
                continue
            del self._requests[request.frame["id"]]
            why = "the connection was lost before the answer, and the journal does not show what was asked for"
            request.reject(_lost(why))
        for request in list(self._asked.values()):
            self._offer(request)

    def _settle(self, event):
        """A request whose answer was lost with the connection is done when the journal says so."""
        for request in [request for request in self._requests.values() if request.is_doubtful]:
            if request.is_done(event):
                del self._requests[request.frame["id"]]
                request.resolve(event.get("turn"), event["seq"])

    def _approvals(self, event):
        kind = event["type"]
        if kind == "approval_requested":
            self._asked[event["approval"]] = event
            if self._end is None:
                self._offer(event)
        elif kind in ("approval_resolved", "approval_withdrawn"):
            self._asked.pop(event["approval"], None)
        elif kind in ENDS:
            self._asked = {key: asked for key, asked in self._asked.items() if asked["turn"] != event["turn"]}

    def _offer(self, request):
        if self._on_approval is not None and self._asked.pop(request["approval"], None):
            self._start(self._decide(request))

    async def _decide(self, request):
        try:
            decision = self._on_approval(request)
            if inspect.isawaitable(decision):
                decision = await decision
            if decision:
                await self.approve(request, decision)
        except Exception as error:
            # Somebody else was quicker, or the turn is over; what that came to is an event.
            is_late = isinstance(error, AreError) and error.code in ("ARE-0602", "ARE-0310", "ARE-0105")
            if not is_late:
                self._fail(error)

    # The connection.

    def _request(self):
        frame = {"type": "attach", "session": self.key or "new", **self._how}
        if self.key is None:
            frame.update(after=0, agent=self._agent)
        else:
            frame.update(after=self._seen, epoch=self.epoch)
        return {name: value for name, value in frame.items() if value is not None}

    async def _run(self):
        """One socket after the other until the session is over."""
        pause = PAUSE_SECONDS
        while not self.error:
            try:
                await self._connection()
            except AreError as error:
                if self.error:
                    return
                was_attached = self._out is not None
                self._out = None
                if not error.retryable or not self._attached.done():
                    self._fail(error)
                    return
                if was_attached:
                    pause = PAUSE_SECONDS
                    for request in self._requests.values():
                        request.is_doubtful = request.is_sent and request.turn is None
                    self._hear({"type": "lost", "error": error})
                    self._lost_at = time.monotonic()
                elif time.monotonic() - self._lost_at > self._reconnect_seconds:
                    self._fail(error)
                    return
                else:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, PAUSE_LONGEST_SECONDS)
            except Exception as error:
                # What a listener raised ends the session, so that it is not overlooked.
                self._fail(error)
                return

    async def _connection(self):
        """Opens a socket and follows the session over it; always ends with an error."""
        writing = None
        try:
            async with self._socket() as socket:
                await socket.send(json.dumps(self._request()))
                # The first answer is to `attach`.
                message = json.loads(await asyncio.wait_for(socket.recv(), OPEN_SECONDS))
                if self.error:
                    # Up to Python 3.11 `wait_for` may swallow that this was cancelled.
                    raise self.error
                if message["type"] == "error":
                    raise AreError.of(message)
                self._out = asyncio.Queue()
                self._take(message)
                writing = asyncio.ensure_future(self._write(socket, self._out))
                # What was not sent yet, and prompts again: those are the same ones by their `request_id`.
                for request in self._requests.values():
                    if not request.is_sent or request.turn:
                        self._send(request)
                if not self._attached.done():
                    self._attached.set_result(None)
                async for text in socket:
                    self._take(json.loads(text))
                raise _closed(socket.close_code, socket.close_reason)
        except ConnectionClosed as error:
            raise _closed(error.rcvd.code if error.rcvd else 1006, error.rcvd.reason if error.rcvd else "") from error
        except InvalidStatus as error:
            raise _refused(error.response) from error
        except (OSError, asyncio.TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise _lost(f"nobody answers at {self._url}: {error}") from error
        finally:
            if writing:
                writing.cancel()

    def _socket(self):
        return open_socket(
            self._url,
            subprotocols=["are.v2"],
            additional_headers={"Authorization": f"Bearer {self._token}"} if self._token else None,
            compression=None,
            max_size=MESSAGE_BYTES_MAX,
            open_timeout=OPEN_SECONDS,
            close_timeout=1,
            ping_interval=HEARTBEAT_SECONDS,
            ping_timeout=HEARTBEAT_SECONDS,
        )

    @staticmethod
    async def _write(socket, out):
        try:
            while True:
                await socket.send(json.dumps(await out.get()))
        except ConnectionClosed:
            # Whoever reads learns of it too, and of the reason.
            return

    def _fail(self, error):
        if self.error:
            return
        self.error = error
        self._out = None
        if not self._attached.done():
            self._attached.set_exception(error)
        for request in self._requests.values():
            request.reject(error)
        for turn in self._active:
            turn._fail(error)
        self._requests.clear()
        self._active.clear()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()


class _Request:
    """A request that waits for its answer."""

    def __init__(self, frame, is_done, is_repeatable, turn):
        self.frame = frame
        # Whether an event shows that it was done.
        self.is_done = is_done
        # Whether it may be sent again without being done twice.
        self.is_repeatable = is_repeatable
        self.turn = turn
        self.is_sent = False
        # True when its answer may have been lost with a connection.
        self.is_doubtful = False
        self.answer = asyncio.get_running_loop().create_future()

    def resolve(self, turn, seq):
        if not self.answer.done():
            self.answer.set_result({"turn": turn, "seq": seq})

    def reject(self, error):
        if not self.answer.done():
            self.answer.set_exception(error)


class Turn:
    """One prompt and all that follows until the answer.

    `async for piece in turn` gives the answer's text as it comes. When the model has to begin again after a crash, and
    its new words are others than those that were given already, `on_restart()` is called and the answer is given from
    its beginning; without `on_restart` the loop ends with ARE-0405. `text` is right in any case. A turn that failed
    ends the loop with its `AreError`; leaving the loop does not stop the turn.
    """

    def __init__(self, session, frame, on_event, on_restart):
        # Its number in the session, once the server has it; None before.
        self.number = None
        # The answer's text so far.
        self.text = ""
        # `completed`, `failed` or `cancelled`; None while it runs.
        self.outcome = None
        # Why the model stopped, of a completed turn.
        self.stop_reason = None
        # Why it failed, or is followed no longer.
        self.error = None
        self._session = session
        self._frame = frame
        self._first = None
        self._on_event = on_event
        self._on_restart = on_restart
        self._waiting = []
        self._version = 0

    @property
    def request_id(self):
        """What makes this prompt the same one when it is sent again."""
        return self._frame["request_id"]

    async def started(self):
        """The turn's number, once the prompt is durable."""
        while self.number is None and not self.error:
            await self._change()
        if self.number is None:
            raise self.error
        return self.number

    async def done(self):
        """Waits until the turn has ended and returns it; raises when it failed."""
        while not self.outcome and not self.error:
            await self._change()
        if self.error:
            raise self.error
        return self

    async def steer(self, content):
        return await self._session.steer(await self.started(), content)

    async def cancel(self):
        return await self._session.cancel(await self.started())

    async def feedback(self, rating=None, note=None):
        return await self._session.feedback(await self.started(), rating, note)

    async def __aiter__(self):
        given, version = "", self._version
        while True:
            if version != self._version:
                # Something was taken back. As long as the new words are those that were given, nothing is said.
                length = min(len(given), len(self.text))
                is_over = self.outcome is not None or self.error is not None
                if given[:length] != self.text[:length] or (is_over and length < len(given)):
                    if self._on_restart is None:
                        raise _restarted()
                    self._on_restart()
                    given = ""
                elif length < len(given):
                    await self._change()
                    continue
                version = self._version
            if len(self.text) > len(given):
                piece = self.text[len(given) :]
                given += piece
                yield piece
            elif self.error:
                raise self.error
            elif self.outcome:
                return
            else:
                await self._change()

    def _take(self, event):
        kind = event["type"]
        if kind == "text":
            self.text += event["text"]
        elif kind == "model_restarted":
            # The first bytes of the text, as UTF-8 counts them.
            self._void(self.text.encode()[: event["keep_bytes"]].decode(errors="ignore"))
        elif kind in ENDS:
            self.outcome = ENDS[kind]
            self.stop_reason = event.get("stop_reason")
            if kind == "turn_failed":
                self.error = AreError.of(event["error"])
        self._wake()

    def _void(self, text):
        if text != self.text:
            self.text = text
            self._version += 1

    def _began(self, number, first):
        self.number = number
        self._first = first
        self._wake()

    def _fail(self, error):
        if not self.outcome:
            self.error = error
            self._wake()

    async def _change(self):
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self):
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)


def _restarted():
    why = "text that was given already became void, because the model began again"
    return AreError("ARE-0405", why, "give `on_restart`, or read `text` when the turn has ended", retryable=True)


def _closed(code, reason):
    """A close code of ours is 4000 and the error's number, and the reason names it; the others are RFC 6455's."""
    own, _, message = (reason or "").partition(" ")
    if len(own) == 8 and own.startswith("ARE-") and own[4:].isdigit():
        return AreError(own, message, "see the server's log", retryable=own in CURABLE)
    error = _lost(f"the server closed the connection with {code}")
    error.retryable = code in CURABLE_CLOSES
    return error


def _refused(response):
    """A refused upgrade: a problem document, or whatever stands between."""
    try:
        error = AreError.of(json.loads(response.body or b""))
    except (ValueError, KeyError, TypeError):
        return _lost(f"the server does not open a socket: {response.status_code}")
    error.retryable = error.retryable or response.status_code >= 500
    return error
