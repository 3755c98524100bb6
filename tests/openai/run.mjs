// The official OpenAI SDK for JavaScript against a running server: run.mjs BASE_URL TOKEN
//
// What stands behind the server says what the user's last words tell it (see crates/are/tests/it/openai_sdks.rs).
// Each case prints its name; the last line says how many there were.

import assert from 'node:assert/strict';
import readline from 'node:readline/promises';

const { default: OpenAI } = await import(process.env.OPENAI_SDK);
const [base, token] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: token, maxRetries: 0, timeout: 60_000 });
const stdin = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** One white pixel. */
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==';
const user = (content) => ({ role: 'user', content });
const chat = (content, more = {}, options = {}) =>
  client.chat.completions.create({ model: 'are', messages: [user(content)], ...more }, options);
const weather = {
  type: 'function',
  function: {
    name: 'get-weather',
    description: 'The weather of a place.',
    parameters: { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] },
  },
};
const refused = async (kind, work) => {
  try {
    await work();
  } catch (error) {
    assert(error instanceof kind, `${error}`);
    return error;
  }
  throw new Error(`not refused as ${kind.name}`);
};
/** Lines of what waits for the account, live. */
async function* inbox() {
  const response = await fetch(`${base}/api/events`, { headers: { Authorization: `Bearer ${token}` } });
  let rest = '';
  for await (const bytes of response.body) {
    const lines = (rest + new TextDecoder().decode(bytes)).split('\n');
    rest = lines.pop();
    yield* lines;
  }
}
const until = async (lines, wanted) => {
  for (;;) {
    const { value, done } = await lines.next();
    assert(!done);
    if (value.startsWith(wanted)) return;
  }
};

const cases = {
  async models_are_listed() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.equal(ids[0], 'are');
    assert.equal((await client.models.retrieve('are')).owned_by, 'are');
  },
  async a_chat_is_answered() {
    const answer = await chat('say hello there', { max_completion_tokens: 50 });
    assert.equal(answer.choices[0].message.content, 'hello there');
    assert.equal(answer.choices[0].finish_reason, 'stop');
  },
  async a_chat_is_streamed() {
    const pieces = [];
    for await (const chunk of await chat('say one two', { stream: true })) {
      pieces.push(chunk.choices[0]?.delta?.content ?? '');
    }
    assert.equal(pieces.join(''), 'one two');
    const runner = client.chat.completions.stream({ model: 'are', messages: [user('say by helper')] });
    assert.equal(await runner.finalContent(), 'by helper');
  },
  async a_tool_of_the_clients_runs_in_the_client() {
    const seen = [];
    const runner = client.chat.completions.runTools({
      model: 'are',
      messages: [user('tool get_weather')],
      tools: [{
        type: 'function',
        function: {
          ...weather.function,
          parse: JSON.parse,
          function: ({ place }) => {
            seen.push(place);
            return `fog in ${place}`;
          },
        },
      }],
    });
    assert.equal(await runner.finalContent(), 'it says fog in Basel');
    assert.deepEqual(seen, ['Basel']);
  },
  async an_image_is_shown_to_the_model() {
    const url = `data:image/png;base64,${PIXEL}`;
    const shown = [{ type: 'text', text: 'see' }, { type: 'image_url', image_url: { url } }];
    assert.equal((await chat(shown)).choices[0].message.content, `1 image: ${url}`);
    const items = [{ type: 'input_image', image_url: url, detail: 'auto' }, { type: 'input_text', text: 'see' }];
    const response = await client.responses.create({ model: 'are', input: [user(items)] });
    assert.equal(response.output_text, `1 image: ${url}`);
  },
  async an_answer_has_the_form_that_was_asked_for() {
    const schema = { type: 'object', properties: { x: { type: 'integer' } }, required: ['x'], additionalProperties: false };
    const format = { type: 'json_schema', json_schema: { name: 'point', strict: true, schema } };
    const made = await client.chat.completions.parse({
      model: 'are', messages: [user('json {"x":5}')], response_format: format,
    });
    assert.deepEqual(JSON.parse(made.choices[0].message.content), { x: 5 });
    const error = await refused(OpenAI.APIError, () => chat('json {"x":"5"}', { response_format: format }));
    assert.deepEqual([error.status, error.code], [502, 'ARE-0415']);
  },
  async errors_are_those_that_the_sdk_knows() {
    const stranger = client.withOptions({ apiKey: 'are_wrong' });
    assert.equal((await refused(OpenAI.AuthenticationError, () => stranger.models.list())).code, 'invalid_api_key');
    const unknown = () => client.chat.completions.create({ model: 'local:none', messages: [user('say x')] });
    assert.equal((await refused(OpenAI.NotFoundError, unknown)).code, 'model_not_found');
    const error = await refused(OpenAI.BadRequestError, () => chat('say x', { logprobs: true }));
    assert.equal(error.param, 'logprobs');
    await refused(OpenAI.APIError, async () => {
      for await (const chunk of await chat('fail', { stream: true })) assert(chunk);
    });
  },
  async leaving_cancels_the_turn() {
    const lines = inbox();
    await until(lines, 'id:');
    const stream = await chat('hold one two', { stream: true });
    for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
    await until(lines, 'event: turn_cancelled');
    // A request that nobody streams is stopped as well.
    const controller = new AbortController();
    const waiting = chat('hold one two', {}, { signal: controller.signal });
    await fetch(`${base}/livez`);
    console.log('HELD');
    assert.equal((await stdin.next()).value, 'held');
    controller.abort();
    await refused(OpenAI.APIUserAbortError, () => waiting);
    await until(lines, 'event: turn_cancelled');
    await lines.return();
  },
  async what_needs_a_person_is_denied_where_nobody_looks() {
    assert.match((await chat('call fs_write')).choices[0].message.content, /denied/);
  },
  async what_needs_a_person_waits_for_one_who_looks() {
    const lines = inbox();
    await until(lines, 'id:');
    const waiting = chat('call fs_write');
    await until(lines, 'event: approval_requested');
    console.log('ANSWER');
    assert.equal((await stdin.next()).value, 'answered');
    assert.match((await waiting).choices[0].message.content, /ok/);
    await lines.return();
  },
  async a_response_goes_on_and_is_streamed() {
    const first = await client.responses.create({ model: 'are', input: 'say first' });
    assert.equal(first.output_text, 'first');
    const second = await client.responses.create({ model: 'are', input: 'count', previous_response_id: first.id });
    assert.equal(second.output_text, '2 messages of the user');
    const kinds = [];
    for await (const event of await client.responses.create({ model: 'are', input: 'say one two', stream: true })) {
      assert.equal(event.sequence_number, kinds.length);
      kinds.push(event.type);
    }
    assert.equal(kinds[0], 'response.created');
    assert.equal(kinds.at(-1), 'response.completed');
    const stream = client.responses.stream({ model: 'are', input: 'say by helper' });
    assert.equal((await stream.finalResponse()).output_text, 'by helper');
  },
  async a_response_is_looked_up_and_erased() {
    const first = await client.responses.create({ model: 'are', input: 'say kept words', metadata: { ticket: '7' } });
    assert.deepEqual(await client.responses.retrieve(first.id), first);
    const streamed = [];
    for await (const event of await client.responses.create({ model: 'are', input: 'say one two', stream: true })) {
      streamed.push(event);
    }
    const name = streamed[0].response.id;
    const replayed = [];
    for await (const event of await client.responses.retrieve(name, { stream: true })) replayed.push(event);
    assert.deepEqual(replayed, streamed);
    await client.responses.delete(first.id);
    assert.equal((await refused(OpenAI.NotFoundError, () => client.responses.retrieve(first.id))).param, 'response_id');
  },
  async embeddings_are_those_of_words() {
    const made = await client.embeddings.create({ model: 'are-lexical', input: 'a red apple' });
    assert.equal(made.data[0].embedding.length, 256);
  },
};

for (const [name, work] of Object.entries(cases)) {
  await work();
  console.log(name);
}
console.log(`${Object.keys(cases).length} cases hold`);
process.exit(0);
