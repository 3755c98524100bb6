// The client for JavaScript against a running server: run.mjs BASE_URL TOKEN
//
// What stands behind the server says what the user's last words tell it, and whoever runs this does what lines in
// capitals ask for and answers each with one line (see crates/are/tests/it/clients.rs). Each case prints its name; the
// last line says how many there were.

import assert from 'node:assert/strict';
import net from 'node:net';
import readline from 'node:readline/promises';

import { AreError, connect } from '../../clients/are.mjs';

const [base, token] = process.argv.slice(2);
const stdin = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (line) => {
  console.log(line);
  return (await stdin.next()).value;
};

/** A wire between client and server that can be cut, and that can lose what one of them says. */
class Wire {
  #sockets = new Set(); #server; #losesWords = false; #losesAnswers = false; #isBroken = false;
  #lost = () => {};

  constructor(port) { this.port = port; }

  async open() {
    this.#server = net.createServer((near) => {
      if (this.#isBroken) return near.destroy();
      const far = net.connect(this.port, '127.0.0.1');
      for (const [from, to, isLost] of [[near, far, () => this.#losesWords], [far, near, () => this.#losesAnswers]]) {
        this.#sockets.add(from);
        from.on('data', (bytes) => {
          if (isLost()) this.#lost();
          else to.write(bytes);
        });
        from.on('error', () => {});
        from.on('close', () => { this.#sockets.delete(from); to.destroy(); });
      }
      return undefined;
    });
    await new Promise((resolve) => { this.#server.listen(0, '127.0.0.1', resolve); });
    this.url = `http://localhost:${this.#server.address().port}`;
    return this;
  }

  /** From here on nothing of the client's, or nothing of the server's, arrives; resolves when something was lost. */
  loseWords() {
    this.#losesWords = true;
    return new Promise((resolve) => { this.#lost = resolve; });
  }

  loseAnswers() { this.#losesAnswers = true; }

  cut() {
    this.#losesWords = false;
    this.#losesAnswers = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  break() {
    this.#isBroken = true;
    this.cut();
  }
}

const wire = await new Wire(new URL(base).port).open();
const opened = [];
const open = async (options = {}) => {
  const session = await connect(wire.url, { token, ...options });
  opened.push(session);
  return session;
};
/** Everything that is told of a session, which must be without gap and repetition. */
const record = () => {
  const events = [];
  const onEvent = (event) => {
    if (event.type === 'reset') events.length = 0;
    if (event.seq === undefined || event.type === 'reset') return;
    if (events.length > 0) {
      const before = events.at(-1);
      assert.equal(event.seq, (before.last ?? before.seq) + 1, JSON.stringify(event));
    }
    events.push(event);
  };
  return { events, onEvent };
};
const types = (events) => events.map((event) => event.type);
const text = async (turn) => {
  let all = '';
  for await (const piece of turn) all += piece;
  assert.equal(all, turn.text);
  return all;
};
const refused = async (code, work) => {
  try {
    await work();
  } catch (error) {
    assert(error instanceof AreError, `${error.stack}`);
    assert.equal(error.code, code, error.message);
    assert(error.message);
    return error;
  }
  throw new Error(`not refused with ${code}`);
};
const count = async (words) => Number(await ask(`COUNT ${words}`));
const release = (pieces) => ask(`RELEASE ${pieces}`);
const restart = async (how) => { wire.port = new URL(await ask(how)).port; };

const cases = {
  async a_prompt_is_answered_piece_by_piece_with_events_beside() {
    const { events, onEvent } = record();
    const session = await open({ onEvent });
    const own = [];
    const turn = session.prompt('say one two three', { onEvent: (event) => own.push(event) });
    const pieces = [];
    for await (const piece of turn) pieces.push(piece);
    assert.equal(pieces.join(''), 'one two three');
    assert.deepEqual([turn.number, turn.text, turn.outcome, turn.stopReason], [1, 'one two three', 'completed', 'stop']);
    assert.equal(events[0].type, 'session_created');
    assert.equal(own[0].type, 'turn_started');
    assert.equal(own.at(-1).type, 'turn_completed');
    assert.equal(own.filter((event) => event.type === 'text').map((event) => event.text).join(''), turn.text);
    assert.equal(session.seq, events.at(-1).seq);
    assert.equal(await text(session.prompt([{ type: 'text', text: 'say again' }])), 'again');
    assert.equal(await text(turn), 'one two three');
  },
  async an_opinion_of_a_turn_is_kept() {
    const { events, onEvent } = record();
    const session = await open({ onEvent });
    const turn = await session.prompt('say x').done();
    await turn.feedback({ rating: 'up', note: 'good' });
    await session.prompt('say y').done();
    const kept = events.filter((event) => event.type === 'feedback').map(({ rating, note }) => [rating, note]);
    assert.deepEqual(kept, [['up', 'good']]);
  },
  async a_call_runs_when_it_is_allowed_and_not_when_it_is_denied() {
    const shown = [];
    for (const [decision, answer] of [['allow_once', /ok/], ['deny', /denied/]]) {
      const session = await open({ onApproval: (request) => { shown.push(request); return decision; } });
      const turn = session.prompt('call fs_write');
      assert.match(await text(turn), answer);
    }
    assert.deepEqual(shown.map((request) => request.tool), ['fs_write', 'fs_write']);
    assert.equal(shown[0].args.path, 'made.txt');
    // Nobody here answers, and the server is told so: it does not wait.
    assert.match(await text((await open()).prompt('call fs_write')), /denied/);
  },
  async an_answer_to_an_approval_survives_the_connection() {
    const session = await open({ onApproval: () => { wire.cut(); return 'allow_once'; } });
    assert.match(await text(session.prompt('call fs_write')), /ok/);
    // Taken by the server, and its acknowledgement lost: the journal says that it is done.
    const heard = await open({ onApproval: async () => { wire.loseAnswers(); return 'allow_once'; } });
    const turn = heard.prompt('call fs_write lost');
    await Promise.race([ask('RESULT call fs_write lost'), turn.done()]);
    wire.cut();
    assert.match(await text(turn), /ok/);
  },
  async an_approval_can_be_answered_by_another_client() {
    const asked = Promise.withResolvers();
    const first = await open({ headless: false, onEvent: (event) => { if (event.type === 'approval_requested') asked.resolve(event); } });
    const turn = first.prompt('call fs_write');
    const request = await asked.promise;
    const wrong = { ...request, digest: '0'.repeat(64) };
    await refused('ARE-0603', () => first.approve(wrong, 'allow_once'));
    const second = await open({ session: first.key, headless: false });
    await second.approve(request, 'deny');
    assert.match(await text(turn), /denied/);
    await refused('ARE-0602', () => second.approve(request, 'allow_once'));
  },
  async a_turn_is_steered_and_cancelled() {
    const session = await open();
    const turn = session.prompt('hold one two');
    for await (const piece of turn) {
      assert.equal(piece, 'one ');
      break;
    }
    await turn.steer('hold three four');
    await ask('AWAIT hold three four');
    await turn.cancel();
    assert.equal((await turn.done()).outcome, 'cancelled');
    await refused('ARE-0310', () => turn.cancel());
    await refused('ARE-0310', () => turn.steer('more'));
  },
  async refusals_are_typed() {
    const wrong = await refused('ARE-0202', () => connect(wire.url, { token: 'are_wrong' }));
    assert(wrong.help && !wrong.retryable);
    await refused('ARE-0201', () => connect(wire.url));
    await refused('ARE-0301', () => open({ session: '0197a000-0000-7000-8000-000000000000' }));
    assert((await refused('ARE-0105', () => connect('http://127.0.0.1:9'))).retryable);
    const session = await open();
    await refused('ARE-0206', () => text(session.prompt('')));
    await refused('ARE-0206', () => session.prompt('say x', { temperature: 3 }).started());
    const first = session.prompt('say same', { requestId: 'javascript-same' });
    assert.equal(await text(first), 'same');
    await refused('ARE-0304', () => text(session.prompt('say other', { requestId: 'javascript-same' })));
    const failed = session.prompt('fail');
    assert((await refused('ARE-0403', () => text(failed))).help);
    assert.equal(failed.outcome, 'failed');
    session.close();
    await refused('ARE-0105', () => session.prompt('say x').done());
  },
  async a_cut_connection_loses_and_repeats_nothing() {
    const { events, onEvent } = record();
    const session = await open({ onEvent });
    const turn = session.prompt('slow one two three');
    await release(1);
    let all = '';
    for await (const piece of turn) {
      all += piece;
      if (all !== 'one ') continue;
      wire.cut();
      // Two words, and what ends the answer.
      await release(5);
    }
    assert.equal(all, 'one two three');
    assert.equal(events.at(-1).type, 'turn_completed');
    assert.equal(await count('slow one two three'), 1);
  },
  async a_prompt_whose_acknowledgement_was_lost_is_the_same_turn() {
    const session = await open();
    await session.prompt('say before').done();
    wire.loseAnswers();
    const turn = session.prompt('say just once');
    await ask('AWAIT say just once');
    wire.cut();
    assert.equal(await text(turn), 'just once');
    assert.deepEqual([turn.number, await count('say just once')], [2, 1]);
  },
  async what_the_connection_lost_is_known_from_the_journal() {
    const session = await open();
    const turn = session.prompt('hold one two');
    for await (const piece of turn) if (piece) break;
    // Heard by the server, unlike the next one.
    wire.loseAnswers();
    const heard = turn.steer('hold seven eight');
    await ask('AWAIT hold seven eight');
    wire.cut();
    await heard;
    let lost = wire.loseWords();
    const unheard = turn.steer('hold five six');
    await lost;
    wire.cut();
    assert((await refused('ARE-0105', () => unheard)).retryable);
    // What may be said twice is.
    lost = wire.loseWords();
    const stopped = turn.cancel();
    await lost;
    wire.cut();
    await stopped;
    assert.equal((await turn.done()).text, 'one seven ');
    assert.equal(await count('hold five six'), 0);
  },
  async a_killed_server_is_waited_for_and_the_text_is_the_same() {
    const { onEvent } = record();
    const session = await open({ onEvent });
    const turn = session.prompt('again one two three');
    let all = '';
    for await (const piece of turn) {
      all += piece;
      if (all === 'one ') await restart('KILL');
    }
    assert.equal(all, 'one two three');
    assert.equal(turn.text, all);
  },
  async other_words_after_a_restart_are_told() {
    for (const isTold of [true, false]) {
      const session = await open();
      let all = '';
      const turn = session.prompt(`change ${isTold}`, isTold ? { onRestart: () => { all = ''; } } : {});
      const reading = (async () => {
        for await (const piece of turn) {
          all += piece;
          if (all === 'one ') await restart('KILL');
        }
      })();
      if (isTold) await reading;
      else await refused('ARE-0405', () => reading);
      assert.equal((await turn.done()).text, 'other words');
      if (isTold) assert.equal(all, 'other words');
    }
  },
  async a_journal_of_another_epoch_is_read_from_its_beginning() {
    const { events, onEvent } = record();
    let resets = 0;
    const session = await open({ onEvent: (event) => { resets += Number(event.type === 'reset'); onEvent(event); } });
    await session.prompt('say before').done();
    const epoch = session.epoch;
    const turn = session.prompt('again four five');
    let all = '';
    for await (const piece of turn) {
      all += piece;
      if (all === 'four ') await restart('MOVE');
    }
    assert.deepEqual([all, turn.text, turn.number, resets], ['four five', 'four five', 2, 1]);
    assert(session.epoch > epoch);
    assert.deepEqual([events[0].seq, events.at(-1).type], [1, 'turn_completed']);
  },
  async a_later_client_goes_on_where_an_earlier_one_stopped() {
    const first = await open();
    const turn = first.prompt('say for later', { requestId: 'javascript-later' });
    await turn.done();
    const { key, seq, epoch } = first;
    first.close();
    const { events, onEvent } = record();
    const second = await open({ session: key, after: seq, epoch, onEvent });
    await second.prompt('say more').done();
    assert.equal(events[0].type, 'turn_started');
    assert.equal(events[0].seq, seq + 1);
    // The same request is the same turn, with all of its text, although it began before what is followed.
    const again = second.prompt('say for later', { requestId: 'javascript-later' });
    assert.deepEqual([await text(again), again.number], ['for later', 1]);
    assert.equal(await count('say for later'), 1);
    // What is not of this journal is reset.
    const seen = [];
    const lost = await open({ session: key, after: 9999, onEvent: (event) => seen.push(event) });
    await lost.prompt('say end').done();
    assert.deepEqual(types(seen.slice(0, 2)), ['reset', 'session_created']);
  },
  async a_server_that_stays_away_is_given_up() {
    const session = await open({ reconnectMs: 0 });
    const turn = session.prompt('hold one two');
    await turn.started();
    wire.break();
    assert((await refused('ARE-0105', () => turn.done())).retryable);
    assert.equal(session.error.code, 'ARE-0105');
  },
};

for (const [name, work] of Object.entries(cases)) {
  await work();
  for (const session of opened.splice(0)) session.close();
  console.log(name);
}
console.log(`${Object.keys(cases).length} cases hold`);
process.exit(0);
