// The official TypeScript SDK with nothing changed but base URL and key. Run by test_typescript_sdk.py
// against gunicorn and the sandbox upstream; OBOL_URL and the keys come from the environment.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

const { OBOL_URL, OBOL_KEY, OBOL_POOR_KEY, OBOL_SUSPENDED_KEY, OBOL_EXPIRED_KEY } = process.env;
const MODEL = 'claude-sonnet-5-5';
const TEXT = 'This answer comes from the sandbox, not from a model.';
const TOOL = {
  name: 'next_step',
  description: 'What is to be done next.',
  input_schema: { type: 'object', properties: { turn: { type: 'integer' } }, required: ['turn'] },
};

// Without retries, unless the test is about them: they would hide what the server says.
const clientOf = (options) => new Anthropic({ baseURL: OBOL_URL, apiKey: OBOL_KEY, maxRetries: 0, ...options });
const client = clientOf();

const asked = (directives, more) => ({
  model: MODEL,
  max_tokens: 100,
  messages: [{ role: 'user', content: directives ? `[sandbox ${directives}] Hello` : 'Hello' }],
  ...more,
});

// In the price book of a new database every token is one credit.
const costOf = ({ usage }) =>
  usage.input_tokens + usage.output_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens;

const credits = async (key = OBOL_KEY) => {
  const response = await fetch(`${OBOL_URL}/api/v1/license`, { headers: { 'x-api-key': key } });
  const { balance, held } = await response.json();
  assert.equal(held, 0);
  return balance;
};

/** What `act` took from the balance, and what it returned. */
const paidFor = async (act) => {
  const before = await credits();
  const result = await act();
  return [before - (await credits()), result];
};

/** The error that a promise is rejected with, which must be of just this class. */
const rejection = async (promise, errorClass) => {
  const error = await promise.then(
    () => assert.fail('It was not rejected.'),
    (reason) => reason,
  );
  assert.equal(error.constructor, errorClass, error.stack);
  return error;
};

/** A client that counts what it sends, retries too. */
const counting = (options) => {
  const sent = [];
  const counted = (url, init) => {
    sent.push(new Headers(init.headers).get('idempotency-key'));
    return fetch(url, init);
  };
  return [clientOf({ fetch: counted, ...options }), sent];
};

const drained = async (stream) => {
  const events = [];
  for await (const event of stream) events.push(event.type);
  return events;
};

test('an answer is a message and charged to the token', async () => {
  const [paid, message] = await paidFor(() => client.messages.create(asked()));
  assert.deepEqual([message.type, message.model, message.stop_reason], ['message', `sandbox/${MODEL}`, 'end_turn']);
  assert.equal(message.content[0].text, TEXT);
  assert.match(message._request_id, /^req_/);
  assert.equal(paid, costOf(message));
});

test('the headers of an answer tell what it cost', async () => {
  const { data, response } = await client.messages.create(asked()).withResponse();
  assert.equal(response.headers.get('obol-credits-charged'), String(costOf(data)));
  assert.equal(response.headers.get('obol-credits-balance'), String(await credits()));
});

test('a stream gives text as it comes and then the whole message', async () => {
  const pieces = [];
  const [paid, message] = await paidFor(() =>
    client.messages.stream(asked()).on('text', (piece) => pieces.push(piece)).finalMessage(),
  );
  assert.equal(pieces.length, 10);
  assert.equal(pieces.join(''), TEXT);
  assert.equal(message.content[0].text, TEXT);
  assert.equal(paid, costOf(message));
});

test('a stream of raw events has every event once and nothing of Obol', async () => {
  assert.deepEqual(await drained(await client.messages.create(asked('', { stream: true }))), [
    'message_start',
    'content_block_start',
    ...Array(10).fill('content_block_delta'),
    'content_block_stop',
    'message_delta',
    'message_stop',
  ]);
});

test('a stream that is left early is charged all the same, and frees its client', async () => {
  const [paid] = await paidFor(async () => {
    for await (const event of await client.messages.create(asked('event_delay_ms=10', { stream: true }))) {
      if (event.type === 'content_block_delta') break;
    }
    // Obol reads on without its client; until then the credits are set aside.
    for (let tries = 0; tries < 1000; tries++) {
      const response = await fetch(`${OBOL_URL}/api/v1/license`, { headers: { 'x-api-key': OBOL_KEY } });
      if ((await response.json()).held === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  assert.ok(paid > 0);
});

test('the beta client gets the same', async () => {
  const betas = ['some-beta-2026-01-01'];
  assert.equal((await client.beta.messages.create(asked('', { betas }))).content[0].text, TEXT);
  const streamed = await client.beta.messages.stream(asked('', { betas })).finalMessage();
  assert.equal(streamed.content[0].text, TEXT);
});

test('a tool call has its input, whole and streamed', async () => {
  const request = asked('tool_turns=1', { tools: [TOOL] });
  for (const message of [
    await client.messages.create(request),
    await client.messages.stream(request).finalMessage(),
  ]) {
    assert.equal(message.stop_reason, 'tool_use');
    assert.deepEqual(
      message.content.map(({ type }) => type),
      ['text', 'tool_use'],
    );
    assert.deepEqual(message.content[1].input, { turn: 1 });
  }
});

test('counting tokens is free and tells what an answer will report', async () => {
  const { model, messages } = asked();
  const [paid, counted] = await paidFor(() => client.messages.countTokens({ model, messages }));
  assert.equal(paid, 0);
  assert.equal(counted.input_tokens, (await client.messages.create(asked())).usage.input_tokens);
});

test('models are listed page by page and shown, and one that there is not is not found', async () => {
  const ids = [];
  for await (const model of client.models.list({ limit: 1 })) ids.push(model.id);
  assert.deepEqual(ids, ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5']);
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
  const error = await rejection(client.models.retrieve('claude-none'), Anthropic.NotFoundError);
  assert.deepEqual([error.type, error.apiMessage], ['not_found_error', 'model: claude-none']);
});

test('too few credits are a PaymentRequiredError, and no retry helps', async () => {
  const [poor, sent] = counting({ apiKey: OBOL_POOR_KEY, maxRetries: 2 });
  for (const ask of [
    () => poor.messages.create(asked()),
    () => poor.messages.create(asked('', { stream: true })),
    () => poor.messages.stream(asked()).finalMessage(),
  ]) {
    const error = await rejection(ask(), Anthropic.PaymentRequiredError);
    assert.deepEqual([error.status, error.type, error.errorCode], [402, 'billing_error', 'insufficient_credits']);
    assert.equal(error.details.available, await credits(OBOL_POOR_KEY));
    assert.ok(error.details.required > error.details.available);
    assert.match(error.apiMessage, /credits are needed/);
    assert.equal(error.requestID, error.error.request_id);
  }
  assert.equal(sent.length, 3);
});

test('keys that are no good are PermissionDeniedErrors or AuthenticationErrors', async () => {
  for (const [apiKey, code, errorClass, status, type] of [
    [OBOL_SUSPENDED_KEY, 'license_inactive', Anthropic.PermissionDeniedError, 403, 'permission_error'],
    [OBOL_EXPIRED_KEY, 'license_expired', Anthropic.PermissionDeniedError, 403, 'permission_error'],
    ['obol_nonsense', 'license_invalid', Anthropic.AuthenticationError, 401, 'authentication_error'],
  ]) {
    const [denied, sent] = counting({ apiKey, maxRetries: 2 });
    const error = await rejection(denied.messages.create(asked()), errorClass);
    assert.deepEqual([error.status, error.type, error.errorCode], [status, type, code]);
    assert.equal(sent.length, 1);
  }
});

test('without a key it is an AuthenticationError', async () => {
  const headers = { Authorization: null, 'X-Api-Key': null };
  const error = await rejection(client.messages.create(asked(), { headers }), Anthropic.AuthenticationError);
  assert.deepEqual([error.type, error.errorCode], ['authentication_error', 'credentials_missing']);
});

test('a cost that nobody can bound is an UnprocessableEntityError', async () => {
  const tools = [{ type: 'web_search_20250305', name: 'web_search' }];
  const error = await rejection(client.messages.create(asked('', { tools })), Anthropic.UnprocessableEntityError);
  assert.deepEqual([error.type, error.errorCode], ['invalid_request_error', 'cost_unbounded']);
  assert.equal(error.details.errors[0].field, 'tools.0.type');
});

test('errors of the upstream keep their class and words, and cost nothing', async () => {
  for (const [status, errorClass, type, retryAfter] of [
    [400, Anthropic.BadRequestError, 'invalid_request_error', null],
    [429, Anthropic.RateLimitError, 'rate_limit_error', '7'],
    [500, Anthropic.InternalServerError, 'api_error', null],
    [529, Anthropic.OverloadedError, 'overloaded_error', '7'],
  ]) {
    const [paid, error] = await paidFor(() => rejection(client.messages.create(asked(`status=${status}`)), errorClass));
    assert.deepEqual([error.status, error.type], [status, type]);
    const words = status === 429 ? /no more requests from this service/ : /^The prompt asked for this error\.$/;
    assert.match(error.apiMessage, words);
    assert.equal(error.headers.get('retry-after'), retryAfter);
    assert.equal(paid, 0);
  }
});

test('a lost connection to the upstream is worth another try', async () => {
  const [retrying, sent] = counting({ maxRetries: 1 });
  const error = await rejection(retrying.messages.create(asked('close')), Anthropic.InternalServerError);
  assert.deepEqual([error.status, error.errorCode, sent.length], [502, 'upstream_error', 2]);
});

test('a broken stream is an error and never a message', async () => {
  for (const [directive, type] of [
    ['error_after=1', 'overloaded_error'],
    ['error_after=15', 'overloaded_error'],
    ['cut_after=5', 'api_error'],
    ['cut_after=15', 'api_error'],
    ['end_after=1', 'api_error'],
    ['end_after=5', 'api_error'],
    ['end_after=15', 'api_error'],
    ['garbage', 'api_error'],
  ]) {
    const [paid] = await paidFor(async () => {
      const seen = [];
      const final = client.messages.stream(asked(directive)).on('streamEvent', ({ type }) => seen.push(type));
      const error = await rejection(final.finalMessage(), Anthropic.APIError);
      assert.equal(error.type, type, directive);
      assert.match(error.requestID, /^req_/);
      assert.ok(!seen.includes('message_stop') && !seen.includes('message_delta'), directive);
      const raw = await client.messages.create(asked(directive, { stream: true }));
      await rejection(drained(raw), Anthropic.APIError);
    });
    assert.equal(paid, 0, directive);
  }
});

test('the same Idempotency-Key gives the same answer and is charged once', async () => {
  const options = { headers: { 'Idempotency-Key': randomUUID() } };
  const [paid, message] = await paidFor(async () => {
    const first = await client.messages.create(asked(), options);
    const { data, response } = await client.messages.create(asked(), options).withResponse();
    assert.deepEqual(data, first);
    assert.equal(response.headers.get('obol-replayed'), 'true');
    return first;
  });
  assert.equal(paid, costOf(message));

  const other = client.messages.create(asked('output_tokens=3'), options);
  assert.equal((await rejection(other, Anthropic.UnprocessableEntityError)).errorCode, 'idempotency_key_reused');
});

test('a stream is streamed again under its Idempotency-Key and charged once', async () => {
  const options = { headers: { 'Idempotency-Key': randomUUID() } };
  const request = asked('tool_turns=1', { tools: [TOOL] });
  const [paid, message] = await paidFor(async () => {
    const first = await client.messages.stream(request, options).finalMessage();
    assert.deepEqual(await client.messages.stream(request, options).finalMessage(), first);
    return first;
  });
  assert.equal(paid, costOf(message));
});

test('the retries of the SDK are under the same Idempotency-Key, and wait for the call that still runs', async () => {
  const [retrying, sent] = counting({ maxRetries: 5 });
  const options = { headers: { 'Idempotency-Key': randomUUID() } };
  const [paid, [first, second]] = await paidFor(() => {
    const ask = () => retrying.messages.create(asked('delay_ms=900'), options);
    return Promise.all([ask(), ask()]);
  });
  assert.deepEqual(second, first);
  assert.ok(sent.length > 2);
  assert.deepEqual(new Set(sent), new Set([options.headers['Idempotency-Key']]));
  assert.equal(paid, costOf(first));
});

for (const keyed of [false, true]) {
  test(`an agent of twenty turns ${keyed ? 'with' : 'without'} keys is charged what its messages say`, async () => {
    const messages = asked('tool_turns=19').messages;
    const [paid, answers] = await paidFor(async () => {
      const given = [];
      while (given.at(-1)?.stop_reason !== 'end_turn') {
        const options = keyed ? { headers: { 'Idempotency-Key': randomUUID() } } : {};
        const request = { model: MODEL, max_tokens: 200, tools: [TOOL], messages };
        given.push(await client.messages.stream(request, options).finalMessage());
        const { content } = given.at(-1);
        const calls = content.filter(({ type }) => type === 'tool_use');
        const results = calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'done' }));
        messages.push({ role: 'assistant', content }, { role: 'user', content: results });
      }
      return given;
    });
    assert.equal(answers.length, 20);
    assert.equal(paid, answers.map(costOf).reduce((sum, cost) => sum + cost));
  });
}

// It asks for a thread unless it is told not to, which Obol does not take; then it has to go on without one.
for (const choice of [{}, { thread: false }]) {
  test(`the tool runner of the SDK is charged what its messages say, given ${JSON.stringify(choice)}`, async () => {
    const turns = [];
    const tool = { ...TOOL, parse: (input) => input, run: ({ turn }) => String(turns.push(turn)) };
    const [paid, answers] = await paidFor(async () => {
      const given = [];
      const request = asked('tool_turns=5', { max_tokens: 200, tools: [tool], ...choice });
      for await (const message of client.beta.messages.toolRunner(request)) given.push(message);
      return given;
    });
    assert.deepEqual(turns, [1, 2, 3, 4, 5]);
    assert.equal(answers.length, 6);
    assert.equal(paid, answers.map(costOf).reduce((sum, cost) => sum + cost));
  });
}
