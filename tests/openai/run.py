"""The official OpenAI SDK for Python against a running server: run.py BASE_URL TOKEN

What stands behind the server says what the user's last words tell it (see crates/are/tests/it/openai_sdks.rs).
Each case prints its name; the last line says how many there were.
"""

import json
import sys
import threading
import urllib.request

import openai
from pydantic import BaseModel

BASE, TOKEN = sys.argv[1], sys.argv[2]
CLIENT = openai.OpenAI(base_url=f"{BASE}/v1", api_key=TOKEN, max_retries=0, timeout=60)
CASES = []
# One white pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
WEATHER = {
    "type": "function",
    "function": {
        "name": "getWeather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


def case(work):
    CASES.append(work)
    return work


def user(text):
    return {"role": "user", "content": text}


def chat(messages, **more):
    return CLIENT.chat.completions.create(model="are", messages=messages, **more)


def get(path):
    request = urllib.request.Request(f"{BASE}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    return urllib.request.urlopen(request, timeout=60)


def refused(kind, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"not refused as {kind.__name__}")


@case
def models_are_listed():
    ids = [model.id for model in CLIENT.models.list()]
    assert ids[0] == "are" and "are-lexical" in ids, ids
    assert CLIENT.models.retrieve("are").owned_by == "are"
    assert refused(openai.NotFoundError, lambda: CLIENT.models.retrieve("none")).code == "model_not_found"


@case
def a_chat_is_answered():
    answer = chat([{"role": "system", "content": "Be brief."}, user("say hello there")], temperature=0.5, seed=7, stop=["!"])
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, answer.object) == ("hello there", "stop", "chat.completion")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    raw = CLIENT.chat.completions.with_raw_response.create(model="are", messages=[user("say hi")])
    assert raw.headers["are-session"] and raw.parse().choices[0].message.content == "hi"


@case
def a_chat_is_streamed():
    chunks = list(chat([user("say one two three")], stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert "".join(pieces) == "one two three" and len(pieces) == 3, pieces
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0
    with CLIENT.chat.completions.stream(model="are", messages=[user("say by helper")]) as stream:
        kinds = {event.type for event in stream}
        assert "content.delta" in kinds
        assert stream.get_final_completion().choices[0].message.content == "by helper"


@case
def a_tool_of_the_clients_is_called_and_answered():
    messages = [user("tool get_weather")]
    answer = chat(messages, tools=[WEATHER])
    call = answer.choices[0].message.tool_calls[0]
    assert (answer.choices[0].finish_reason, call.function.name) == ("tool_calls", "getWeather")
    assert json.loads(call.function.arguments) == {"place": "Basel"}
    messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny in Basel"}]
    answer = chat(messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "it says sunny in Basel", answer
    with CLIENT.chat.completions.stream(model="are", messages=[user("tool get_weather")], tools=[WEATHER]) as stream:
        stream.until_done()
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
        assert json.loads(call.function.arguments) == {"place": "Basel"} and call.function.name == "getWeather"


@case
def an_image_is_shown_to_the_model():
    url = f"data:image/png;base64,{PIXEL}"
    shown = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]
    assert chat([user(shown)]).choices[0].message.content == f"1 image: {url}"
    answer = chat([user(shown), {"role": "assistant", "content": "a pixel"}, user("see")])
    assert answer.choices[0].message.content == f"1 image: {url}", "what was shown before"
    items = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": url, "detail": "auto"}]
    first = CLIENT.responses.create(model="are", input=[user(items)])
    assert first.output_text == f"1 image: {url}"
    assert CLIENT.responses.create(model="are", input="see", previous_response_id=first.id).output_text == f"1 image: {url}"
    for bad in ["https://example.org/cat.png", "data:image/png;base64,AAAA", "data:image/svg+xml;base64,PHN2Zy8+"]:
        part = {"type": "image_url", "image_url": {"url": bad}}
        assert refused(openai.BadRequestError, lambda: chat([user([part])])).status_code == 400, bad


@case
def an_answer_has_the_form_that_was_asked_for():
    class Point(BaseModel):
        x: int
        y: int

    class Line(BaseModel):
        start: Point
        end: Point

    said = 'json {"start":{"x":1,"y":2},"end":{"x":3,"y":4}}'
    answer = CLIENT.chat.completions.parse(model="are", messages=[user(said)], response_format=Line)
    assert answer.choices[0].message.parsed == Line(start=Point(x=1, y=2), end=Point(x=3, y=4))
    parsed = CLIENT.responses.parse(model="are", input=said, text_format=Line).output_parsed
    assert parsed.end.y == 4
    wrong = lambda: CLIENT.chat.completions.parse(model="are", messages=[user('json {"start":1}')], response_format=Line)
    error = refused(openai.InternalServerError, wrong)
    assert (error.status_code, error.code) == (502, "ARE-0415"), error


@case
def errors_are_those_that_the_sdk_knows():
    stranger = CLIENT.with_options(api_key="are_wrong")
    error = refused(openai.AuthenticationError, lambda: stranger.models.list())
    assert error.code == "invalid_api_key" and error.body["are_code"] == "ARE-0202", error.body
    error = refused(openai.NotFoundError, lambda: CLIENT.chat.completions.create(model="local:none", messages=[user("say x")]))
    assert (error.code, error.param) == ("model_not_found", "model")
    error = refused(openai.BadRequestError, lambda: chat([user("say x")], n=2))
    assert (error.param, error.type) == ("n", "invalid_request_error")
    error = refused(openai.BadRequestError, lambda: chat([{"role": "system", "content": "alone"}]))
    assert error.param == "messages"
    assert refused(openai.InternalServerError, lambda: chat([user("fail")])).status_code == 502
    error = refused(openai.APIError, lambda: list(chat([user("fail")], stream=True)))
    assert error.code.startswith("ARE-04"), error.code
    failed = [event for event in CLIENT.responses.create(model="are", input="fail", stream=True)][-1]
    assert failed.type == "response.failed" and failed.response.error.message


@case
def leaving_a_stream_cancels_its_turn():
    stream = chat([user("hold one two")], stream=True)
    session = next(stream).conversation["id"]
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    with get(f"/api/sessions/{session}") as shown:
        assert json.load(shown)["turn"] == 1
    with get("/api/events") as inbox:
        assert inbox.readline().startswith(b"id:")
        stream.close()
        for line in inbox:
            if line == b"event: turn_cancelled\n":
                break


@case
def what_needs_a_person_is_denied_where_nobody_looks():
    answer = chat([user("call fs_write")])
    assert "denied" in answer.choices[0].message.content, answer.choices[0].message.content


@case
def what_needs_a_person_waits_for_one_who_looks():
    with get("/api/events") as inbox:
        assert inbox.readline().startswith(b"id:")
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(chat([user("call fs_write")])))
        waiting.start()
        asked = None
        for line in inbox:
            if asked and line.startswith(b"data: "):
                break
            asked = asked or line == b"event: approval_requested\n"
        # Somebody else answers, with the program itself.
        print("ANSWER", flush=True)
        assert sys.stdin.readline() == "answered\n"
        waiting.join()
    assert "ok" in answers[0].choices[0].message.content, answers[0]


@case
def a_response_is_answered_and_gone_on_with():
    first = CLIENT.responses.create(model="are", input="say first")
    assert (first.output_text, first.status) == ("first", "completed")
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens
    second = CLIENT.responses.create(model="are", input="count", previous_response_id=first.id)
    assert second.output_text == "2 messages of the user"
    # From the first again: a branch, which knows nothing of the second.
    branch = CLIENT.responses.create(model="are", input="count", previous_response_id=first.id)
    assert branch.output_text == "2 messages of the user" and branch.conversation.id != second.conversation.id
    guided = CLIENT.responses.create(model="are", instructions="Be brief.", input=[user("say guided")])
    assert guided.output_text == "guided" and guided.instructions == "Be brief."
    third = CLIENT.responses.create(model="are", input="count", conversation=second.conversation.id)
    assert third.output_text == "3 messages of the user"


@case
def a_response_is_streamed_as_typed_events():
    events = list(CLIENT.responses.create(model="are", input="say one two", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ], kinds
    assert events[-1].response.output_text == "one two"
    with CLIENT.responses.stream(model="are", input="say by helper") as stream:
        stream.until_done()
        assert stream.get_final_response().output_text == "by helper"


@case
def a_response_is_looked_up_and_erased():
    first = CLIENT.responses.create(model="are", input="say kept words", metadata={"ticket": "7"}, instructions="Be brief.")
    again = CLIENT.responses.retrieve(first.id)
    assert again.to_dict() == first.to_dict(), again
    streamed = list(CLIENT.responses.create(model="are", input="say one two", stream=True))
    name = streamed[0].response.id
    replayed = list(CLIENT.responses.retrieve(name, stream=True))
    assert [event.to_dict() for event in replayed] == [event.to_dict() for event in streamed]
    rest = list(CLIENT.responses.retrieve(name, stream=True, starting_after=4))
    assert [event.sequence_number for event in rest] == list(range(5, len(streamed)))
    CLIENT.responses.delete(first.id)
    assert refused(openai.NotFoundError, lambda: CLIENT.responses.retrieve(first.id)).param == "response_id"
    gone_on = CLIENT.responses.create(model="are", input="say more", previous_response_id=name)
    assert refused(openai.BadRequestError, lambda: CLIENT.responses.delete(gone_on.id)).param == "response_id"


@case
def a_response_calls_a_tool_of_the_clients():
    tool = {"type": "function", "strict": False, **WEATHER["function"]}
    first = CLIENT.responses.create(model="are", input="tool get_weather", tools=[tool])
    call = first.output[0]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "getWeather", {"place": "Basel"})
    output = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain in Basel"}]
    second = CLIENT.responses.create(model="are", input=output, tools=[tool], previous_response_id=first.id)
    assert second.output_text == "it says rain in Basel", second
    events = list(CLIENT.responses.create(model="are", input="tool get_weather", tools=[tool], stream=True))
    assert "response.function_call_arguments.done" in [event.type for event in events]


@case
def a_repeated_key_is_the_same_turn():
    headers = {"Idempotency-Key": "python-1"}
    first = chat([user("say once")], extra_headers=headers)
    again = chat([user("say once")], extra_headers=headers)
    assert first.id == again.id and again.choices[0].message.content == "once"
    refused(openai.ConflictError, lambda: chat([user("say other")], extra_headers=headers))


@case
def embeddings_are_those_of_words():
    made = CLIENT.embeddings.create(model="are-lexical", input=["a red apple", "red apples", "quarterly report"])
    near, far = (sum(a * b for a, b in zip(made.data[0].embedding, made.data[at].embedding)) for at in (1, 2))
    assert near > 0.5 > far, (near, far)
    error = refused(openai.NotFoundError, lambda: CLIENT.embeddings.create(model="text-embedding-3-small", input="x"))
    assert error.code == "model_not_found"


for work in CASES:
    work()
    print(work.__name__, flush=True)
print(f"{len(CASES)} cases hold with openai {openai.__version__}")
