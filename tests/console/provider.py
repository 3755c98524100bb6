"""A provider on loopback that speaks OpenAI's chat completions at a pace the test sets.

The last words of the user say what it does:

    words N         N words, one every few milliseconds
    hold N          N words, then waits for `release()`, then N more
    see             says how many images it was shown, and of which kind the last one is
    call NAME JSON  calls a tool, and says `done` when it has the result
    think           reasons first, then answers
    markdown        an answer with everything a renderer must stand, hostile parts included
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Between two words of an answer: slow enough to be seen as a stream.
PACE_S = 0.004
# How long a held answer waits at most; reaching it is a failure of the test.
HOLD_S = 60

MARKDOWN = """# A heading

Some **strong** and *soft* words, `code`, ~~struck~~, and a [link](https://example.com/path).

- one
- two
  - nested
1. first
2. second

> A quotation
> of two lines

| name | value |
|------|------:|
| a    | 1     |
| b    | 22    |

```python
def f(x):
    return x < 1 & 2
```

<script>window.hacked = 1</script><img src=x onerror="window.hacked=1">

![picture](https://outside.example/pixel.png) and [bad](javascript:window.hacked=1) and [odd](data:text/html,x).

---
The end.
"""


class Provider:
    def __init__(self):
        self.released = threading.Semaphore(0)
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                body = json.dumps({"data": [{"id": "mock", "object": "model"}]}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                try:
                    for piece in provider.answer(asked):
                        self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                        self.wfile.flush()
                    self.wfile.write(b"data: [DONE]\n\n")
                except (BrokenPipeError, ConnectionResetError):
                    pass  # The runtime stopped the model, as it was told to.
                self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def release(self):
        self.released.release()

    def close(self):
        self.server.shutdown()

    def answer(self, asked):
        messages = asked["messages"]
        last = messages[-1]
        words = next((text_of(m) for m in reversed(messages) if m["role"] == "user"), "")
        shown = [part for m in messages if isinstance(m["content"], list) for part in m["content"] if part["type"] == "image_url"]
        verb, _, rest = words.strip().partition(" ")
        count = int(rest) if rest.isdigit() else 12
        if last["role"] == "tool":
            yield from spoken("done with the call".split())
        elif verb == "call":
            name, _, arguments = rest.partition(" ")
            call = {"index": 0, "id": "call_1", "type": "function",
                    "function": {"name": name, "arguments": arguments or "{}"}}
            yield delta({"tool_calls": [call]})
            yield end("tool_calls")
            return
        elif verb == "see":
            yield from spoken([f"{len(shown)}", "images,", shown[-1]["image_url"]["url"][:16] if shown else "none"])
        elif verb == "think":
            for word in "first I look at what was asked".split():
                yield delta({"reasoning_content": word + " "})
            yield from spoken("thought about it".split())
        elif verb == "markdown":
            for line in MARKDOWN.splitlines(keepends=True):
                yield delta({"content": line})
        elif verb == "hold":
            yield from spoken([f"w{n}" for n in range(count)])
            self.released.acquire(timeout=HOLD_S)
            yield from spoken([f"w{n}" for n in range(count, 2 * count)])
        else:
            yield from spoken([f"w{n}" for n in range(count)])
        yield end("stop")


def text_of(message):
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def spoken(words):
    for word in words:
        time.sleep(PACE_S)
        yield delta({"content": word + " "})


def delta(value):
    return {"choices": [{"index": 0, "delta": value}]}


def end(reason):
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
            "usage": {"prompt_tokens": 120, "completion_tokens": 24, "total_tokens": 144}}
