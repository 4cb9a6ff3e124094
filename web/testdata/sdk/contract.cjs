// What OpenAI's own client for JavaScript must be able to do with this server: only the address and the key differ. Reads URL, KEY,
// NARROW (a key of another scope), TIGHT (a key with 60 tokens a minute), MODEL and VERSION from the environment; prints what is wrong
// and fails.
"use strict";
const assert = require("node:assert/strict");
const { OpenAI } = require("openai");

const { URL: baseURL, KEY, NARROW, TIGHT, MODEL, VERSION } = process.env;
const client = new OpenAI({ baseURL, apiKey: KEY, maxRetries: 0 });
const messages = [{ role: "system", content: "Be kind." }, { role: "user", content: [{ type: "text", text: "Hi" }] }];
const noEnd = { 50256: -100 };

async function refused(promise, status, type, code, param) {
  try {
    await promise;
  } catch (e) {
    assert.ok(e instanceof OpenAI.APIError, String(e));
    assert.deepEqual([e.status, e.type, e.code, e.param], [status, type, code, param]);
    assert.ok(e.message && e.requestID);
    return e;
  }
  assert.fail(`not refused with ${status} ${code}`);
}

const checks = {
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.deepEqual(ids, ["default", MODEL, VERSION]);
    assert.equal((await client.models.retrieve("default")).object, "model");
  },

  async chat() {
    const ask = { model: VERSION, messages, n: 2, seed: 11, max_completion_tokens: 12, temperature: 0.8, top_p: 0.9, presence_penalty: 0.1, frequency_penalty: 0.1,
      logprobs: true, top_logprobs: 3, stop: ["zzzz"], logit_bias: noEnd };
    const { data, response, request_id } = await client.chat.completions.create(ask).withResponse();
    assert.equal(response.headers.get("rankloop-model-version"), VERSION);
    for (const name of ["openai-processing-ms", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
      "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]) assert.ok(response.headers.get(name), name);
    assert.ok(request_id);
    assert.equal(data.choices.length, 2);
    assert.equal(data.choices[1].logprobs.content.length, 12);
    assert.equal(data.choices[0].logprobs.content[0].top_logprobs.length, 3);
    assert.equal(data.usage.completion_tokens, 24);
    assert.equal(data.usage.prompt_tokens_details.cached_tokens, 0);
    const stream = client.chat.completions.stream({ ...ask, stream_options: { include_usage: true } });
    const whole = await stream.finalChatCompletion();
    assert.deepEqual(whole.choices.map((c) => c.message.content), data.choices.map((c) => c.message.content));
    assert.deepEqual(whole.choices.map((c) => c.logprobs), data.choices.map((c) => c.logprobs));
    assert.equal((await stream.totalUsage()).total_tokens, data.usage.total_tokens);
    assert.equal(whole.system_fingerprint, data.system_fingerprint);
  },

  async completions() {
    const scored = await client.completions.create({ model: MODEL, prompt: [7454, 2402], echo: true, logprobs: 1, max_tokens: 0 });
    assert.deepEqual(scored.choices[0].logprobs.tokens, ["Once", " upon"]);
    assert.equal(scored.choices[0].logprobs.token_logprobs[0], null);
    assert.equal(scored.usage.completion_tokens, 0);
    const best = await client.completions.create({ model: "default", prompt: "Once", best_of: 4, n: 2, max_tokens: 5, seed: 1, logit_bias: noEnd });
    assert.equal(best.choices.length, 2);
    assert.equal(best.usage.completion_tokens, 20);
    let text = "";
    let usage = null;
    for await (const chunk of await client.completions.create({ model: "default", prompt: "Once", seed: 1, max_tokens: 5, logit_bias: noEnd, stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices.map((c) => c.text).join("");
      usage = chunk.usage || usage;
    }
    const same = await client.completions.create({ model: "default", prompt: "Once", seed: 1, max_tokens: 5, logit_bias: noEnd });
    assert.equal(text, same.choices[0].text);
    assert.equal(usage.completion_tokens, 5);
  },

  async stored() {
    const ids = [];
    for (let i = 0; i < 3; i++) {
      ids.push((await client.chat.completions.create({ model: "default", messages, max_tokens: 3, store: true, metadata: { run: "node", i: String(i) } })).id);
    }
    const found = [];
    for await (const c of client.chat.completions.list({ limit: 2, metadata: { run: "node" } })) found.push(c.id);
    assert.deepEqual(found, ids);
    assert.equal((await client.chat.completions.retrieve(ids[0])).metadata.i, "0");
    const said = [];
    for await (const m of client.chat.completions.messages.list(ids[0], { limit: 1 })) said.push(m.content);
    assert.deepEqual(said, ["Be kind.", "Hi"]);
    assert.deepEqual((await client.chat.completions.update(ids[0], { metadata: { done: "yes" } })).metadata, { done: "yes" });
    assert.equal((await client.chat.completions.delete(ids[0])).deleted, true);
    await refused(client.chat.completions.retrieve(ids[0]), 404, "invalid_request_error", "not_found", null);
  },

  async errors() {
    const bad = "invalid_request_error";
    await refused(client.chat.completions.create({ model: "nope", messages }), 404, bad, "model_not_found", "model");
    await refused(client.chat.completions.create({ model: "default", messages, max_tokens: 5000 }), 400, bad, "context_length_exceeded", "messages");
    await refused(client.chat.completions.create({ model: "default", messages, tools: [{ type: "function", function: { name: "f" } }] }), 400, bad, "unsupported_parameter", "tools");
    await refused(client.completions.create({ model: "default", prompt: "x", best_of: 3, stream: true }), 400, bad, "invalid_value", "best_of");
    await refused(new OpenAI({ baseURL, apiKey: "rk_live_x", maxRetries: 0 }).models.list(), 401, bad, "invalid_api_key", null);
    await refused(new OpenAI({ baseURL, apiKey: NARROW, maxRetries: 0 }).models.list(), 403, bad, "insufficient_permissions", null);
    await refused(client.embeddings.create({ model: "default", input: "x" }), 404, bad, "unknown_url", null);
    // A client that may try again does not, as that would be of no use.
    const e = await refused(new OpenAI({ baseURL, apiKey: TIGHT, maxRetries: 5 }).completions.create({ model: "default", prompt: "x", max_tokens: 100 }), 429, "tokens", "rate_limit_exceeded", null);
    assert.equal(e.headers.get("x-should-retry"), "false");
  },

  async stops() {
    const stream = await client.chat.completions.create({ model: "default", messages, stream: true, max_tokens: 200, logit_bias: noEnd });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 3) break; // which ends the request
    assert.equal(chunks, 3);
    assert.ok(stream.controller.signal.aborted);
  },
};

(async () => {
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log("ok", name);
  }
})().catch((e) => { console.error(e); process.exit(1); });
