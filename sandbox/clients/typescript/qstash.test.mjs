// The official client of QStash, `@upstash/qstash`, against the sandbox: what it sends is understood, and what
// it reads is there.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, mock, test } from "node:test";
import {
  Client,
  QstashDailyRatelimitError,
  QstashEmptyArrayError,
  QstashError,
  QstashRatelimitError,
  Receiver,
  SignatureError,
  resend,
} from "@upstash/qstash";
import { OPTIONS, advance, control, destination, now, pages, refused, reset, settings, surface } from "./sandbox.mjs";

const HOOK = "https://example.com/hook";
const GROUP = { name: "team", endpoints: [{ url: "https://a.example", name: "a" }, { url: "https://b.example" }] };

const client = new Client(OPTIONS);
const open = surface(client, { queue: client.queue({ queueName: "q" }) });

const queue = (queueName = "q") => client.queue({ queueName });
const logs = async (request) => (await client.logs(request)).logs;
const ids = (found) => [...new Set(found.map((one) => one.messageId))].sort();
const add = (messages) => control("qstash/messages", messages);
const fail = (...names) => add(names.map((name) => ({ message_id: name, script: ["FAILED"] })));
const dlq = async (request) => (await client.dlq.listMessages(request)).messages;

// The client prints every refusal, also those that a check asks for.
before(() => mock.method(console, "error", () => {}));
beforeEach(reset);

describe("publish", () => {
  test("message arrives with everything it was given", async () => {
    const started = await now();
    const { messageId } = await client.publish({
      url: `${HOOK}?a=1&b=2`,
      body: "hi",
      method: "PUT",
      headers: { "Content-Type": "text/plain", "X-Key": "k", "Upstash-Callback-Forward-X": "cb" },
      retries: 2,
      retryDelay: "pow(2, retried) * 1000",
      callback: "https://cb.example/all",
      failureCallback: "https://cb.example/bad",
      delay: "1m",
      timeout: 30,
      label: ["mine", "nightly"],
      flowControl: { key: "user:1", parallelism: 2, rate: 3, period: "1m" },
    });
    const message = await client.messages.get(messageId);
    assert.equal(message.messageId, messageId);
    assert.equal(message.url, `${HOOK}?a=1&b=2`);
    assert.equal(message.method, "PUT");
    assert.equal(message.body, "hi");
    assert.deepEqual(message.header, { "Content-Type": ["text/plain"], "X-Key": ["k"] });
    assert.equal(message.maxRetries, 2);
    assert.equal(message.retryDelayExpression, "pow(2, retried) * 1000");
    assert.equal(message.callback, "https://cb.example/all");
    assert.deepEqual(message.callbackHeader, { X: ["cb"] });
    assert.equal(message.failureCallback, "https://cb.example/bad");
    assert(Math.abs(message.createdAt - started * 1000) < 5000);
    assert.equal(message.notBefore, message.createdAt + 60_000);
    assert.deepEqual([message.label, message.labels], ["mine", ["mine", "nightly"]]);
    assert.deepEqual(
      [message.flowControlKey, message.parallelism, message.rate, message.ratePerSecond, message.period],
      ["user:1", 2, 3, 3, 60],
    );
  });

  test("JSON is sent as such, and is the first message when it has the same id", async () => {
    const send = () => client.publishJSON({ url: HOOK, body: { ä: 1 }, deduplicationId: "one", delay: 60 });
    const [first, second] = [await send(), await send()];
    assert.deepEqual([first.deduplicated, second.deduplicated], [undefined, true]);
    assert.equal(second.messageId, first.messageId);
    const message = await client.messages.get(first.messageId);
    assert.deepEqual(JSON.parse(message.body), { ä: 1 });
    assert.deepEqual(message.header["Content-Type"], ["application/json"]);
  });

  test("same content is the first message, when that is asked for", async () => {
    const send = (n) => client.publishJSON({ url: HOOK, body: { n }, contentBasedDeduplication: true });
    const sent = [await send(1), await send(1), await send(2)];
    assert.deepEqual(sent.map((one) => one.deduplicated ?? false), [false, true, false]);
  });

  test("message waits until a moment", async () => {
    const notBefore = Math.ceil(await now()) + 3600;
    const { messageId } = await client.publish({ url: HOOK, notBefore });
    assert.equal((await client.messages.get(messageId)).notBefore, notBefore * 1000);
    await advance(3602);
    assert.equal((await logs({ messageIds: [messageId] }))[0].state, "DELIVERED");
  });

  test("redacted fields are hidden", async () => {
    const redact = { body: true, header: ["X-Key"] };
    const headers = { "X-Key": "secret", "X-Open": "open" };
    const { messageId } = await client.publish({ url: HOOK, body: "secret", headers, delay: 60, redact });
    const message = await client.messages.get(messageId);
    assert.match(message.body, /^REDACTED:/);
    assert.match(message.header["X-Key"][0], /^REDACTED:/);
    assert.deepEqual(message.header["X-Open"], ["open"]);
  });

  test("URL group answers for each member", async () => {
    await client.urlGroups.addEndpoints(GROUP);
    const sent = await client.publish({ urlGroup: "team", body: "hi", delay: 60 });
    assert.deepEqual(sent.map((one) => one.url), ["https://a.example", "https://b.example"]);
    const found = await Promise.all(sent.map((one) => client.messages.get(one.messageId)));
    assert.deepEqual(found.map((one) => [one.urlGroup, one.endpointName]), [["team", "a"], ["team", undefined]]);
  });

  test("batch is answered one by one", async () => {
    await client.urlGroups.addEndpoints(GROUP);
    const [plain, queued, group, bad] = await client.batch([
      { url: HOOK, body: "1", retries: 0, delay: 60 },
      { url: HOOK, body: "2", queueName: "q" },
      { urlGroup: "team", body: "3" },
      { url: "example.com" },
    ]);
    const message = await client.messages.get(plain.messageId);
    assert.deepEqual([message.body, message.maxRetries], ["1", 0]);
    assert.equal((await client.messages.get(queued.messageId)).queueName, "q");
    assert.equal(group.length, 2);
    assert.match(bad.error, /invalid scheme/);
  });

  test("batch of JSON carries its content type", async () => {
    const [sent] = await client.batchJSON([{ url: HOOK, body: { n: 1 }, delay: 60, headers: { "X-Key": "k" } }]);
    const message = await client.messages.get(sent.messageId);
    assert.equal(message.body, '{"n":1}');
    assert.deepEqual(message.header, { "Content-Type": ["application/json"], "X-Key": ["k"] });
  });

  test("mail provider is a destination like any other", async () => {
    const api = { name: "email", provider: resend({ token: "re_1" }) };
    const { messageId } = await client.publishJSON({ api, body: { to: "ada@example.com" }, delay: 60 });
    const message = await client.messages.get(messageId);
    assert.equal(message.url, "https://api.resend.com/emails");
    assert.deepEqual(message.header.Authorization, ["Bearer re_1"]);
  });

  test("refusal is raised with its status and text", async () => {
    await refused(client.publish({ url: "example.com" }), 400, /invalid/);
    await refused(client.publish({ url: HOOK, retries: 99 }), 400, /invalid retries/);
    await refused(client.publish({ urlGroup: "none" }), 400, /invalid/);
    assert.deepEqual((await control("qstash/published")).published, []);
  });
});

describe("messages", () => {
  const publish = async (options = {}) => (await client.publish({ url: HOOK, delay: 60, ...options })).messageId;

  test("message is cancelled once", async () => {
    const messageId = await publish();
    assert.deepEqual(await client.messages.cancel(messageId), { cancelled: 1 });
    await refused(client.messages.get(messageId), 404, /not found/);
    await refused(client.messages.cancel(messageId), 404, /not found/);
    assert.deepEqual(ids(await logs({ filter: { state: "CANCELED" } })), [messageId]);
  });

  test("many are cancelled by their ids, and unknown ones do no harm", async () => {
    const sent = [await publish(), await publish(), await publish()];
    assert.deepEqual(await client.messages.cancel([sent[0], "nobody"]), { cancelled: 1 });
    assert.deepEqual(await client.messages.cancel({ messageIds: [sent[1]] }), { cancelled: 1 });
    assert.equal((await client.messages.get(sent[2])).messageId, sent[2]);
  });

  test("many are cancelled by filters, whose values are alternatives", async () => {
    const flowControl = { key: "k", rate: 1 };
    const [a, b, c] = [
      await publish({ label: "a" }),
      await publish({ label: "b", flowControl }),
      await publish({ label: "b", url: "https://other.example/path" }),
    ];
    const cancel = (filter) => client.messages.cancel({ filter });
    assert.deepEqual(await cancel({ label: ["a", "b"], host: "other.example", path: "/path" }), { cancelled: 1 });
    await refused(client.messages.get(c), 404, /not found/);
    assert.deepEqual(await cancel({ fromDate: new Date((await now() + 60) * 1000) }), { cancelled: 0 });
    assert.deepEqual(await cancel({ flowControlKey: "k", callerIp: "127.0.0.1" }), { cancelled: 1 });
    await refused(client.messages.get(b), 404, /not found/);
    assert.deepEqual(await cancel({ url: [HOOK, "https://nobody.example"] }), { cancelled: 1 });
    await refused(client.messages.get(a), 404, /not found/);
  });

  test("all are cancelled, a hundred in a call or, as this client says of QStash, in one call", async () => {
    const cancel = async () => (await client.messages.cancel({ all: true })).cancelled;
    for (const [ignores, cancelled] of [[false, [100, 20, 0]], [true, [120, 0, 0]]]) {
      await settings({ qstash_ignores_cancel_count: ignores });
      await client.batch(Array.from({ length: 120 }, () => ({ url: HOOK, delay: 60 })));
      assert.deepEqual([await cancel(), await cancel(), await cancel()], cancelled);
    }
  });

  test("deprecated names cancel too", async () => {
    const sent = [await publish(), await publish(), await publish()];
    await client.messages.delete(sent[0]);
    assert.equal(await client.messages.deleteMany([sent[1]]), 1);
    assert.equal(await client.messages.deleteAll(), 1);
  });

  test("client does not send an empty id or list, which would mean everything", async () => {
    await publish();
    await assert.rejects(client.messages.cancel(""), QstashError);
    await assert.rejects(client.messages.get(""), QstashError);
    await assert.rejects(client.messages.cancel({ messageIds: [] }), QstashError);
    await assert.rejects(client.messages.cancel({ filter: { label: [] } }), QstashEmptyArrayError);
    assert.deepEqual(await client.messages.cancel([]), { cancelled: 0 });
    assert.deepEqual((await control("qstash/bulk-cancels"))["bulk-cancels"], []);
  });
});

describe("logs", () => {
  test("life of a message is read", async () => {
    await control("qstash/plans", { pattern: "*", outcomes: [{ status: 503, body: "busy" }, 200] });
    const { messageId } = await client.publish({ url: HOOK, body: "hi", label: ["x", "y"], retryDelay: "1000" });
    await advance(60);
    const entries = await logs({ messageIds: [messageId] });
    assert.deepEqual(
      entries.map((one) => one.state).reverse(),
      ["CREATED", "ACTIVE", "ERROR", "RETRY", "ACTIVE", "DELIVERED"],
    );
    const failed = entries[3];
    assert.deepEqual([failed.responseStatus, failed.error], [503, "HTTP status 503"]);
    assert.equal(atob(failed.responseBody), "busy");
    assert.equal(atob(failed.body), "hi");
    assert.deepEqual([failed.label, failed.labels], ["x", ["x", "y"]]);
    assert.equal(failed.url, HOOK);
    assert.equal(typeof failed.time, "number");
    assert(failed.nextDeliveryTime >= failed.time + 1000);
  });

  test("filters choose messages", async () => {
    const url = "https://b.example/path";
    const far = { queue: "q", topic: "team", schedule_id: "scd" };
    await add([
      { message_id: "a", script: ["DELIVERED"], labels: ["x"] },
      { message_id: "b", script: ["FAILED"], url, ...far },
      { message_id: "c", script: [["ERROR", null]] },
    ]);
    await client.publish({ url: HOOK, delay: 60, flowControl: { key: "k", rate: 1 }, label: "flow" });
    const labelled = ids(await logs({ filter: { label: "flow" } }));
    const expected = [
      [{ messageIds: ["a", "b"] }, ["a", "b"]],
      [{ filter: { messageId: "a" } }, ["a"]],
      [{ filter: { state: "DELIVERED" } }, ["a"]],
      [{ filter: { state: "IN_PROGRESS" } }, ["c"]],
      [{ filter: { label: ["x", "y"] } }, ["a"]],
      [{ filter: { queueName: "q", urlGroup: "team", scheduleId: "scd", url } }, ["b"]],
      [{ filter: { host: "b.example", path: "/path", callerIp: "127.0.0.1" } }, ["b"]],
      [{ filter: { flowControlKey: "k" } }, labelled],
      [{ filter: { toDate: new Date(0) } }, []],
      [{ filter: { fromDate: Date.now() + 3_600_000 } }, []],
    ];
    for (const [request, found] of expected) {
      assert.deepEqual(ids(await logs(request)), found, JSON.stringify(request));
    }
    assert.equal(labelled.length, 1);
  });

  test("cursor leads to the end", async () => {
    const names = Array.from({ length: 25 }, (_, number) => `m${number}`);
    await add(names.map((name) => ({ message_id: name, script: ["DELIVERED"] })));
    const found = await pages(async (cursor) => {
      const page = await client.logs({ cursor, count: 10 });
      assert(page.logs.length <= 10);
      return { items: page.logs, cursor: page.cursor };
    });
    assert.deepEqual(found.map((one) => one.messageId), names.reverse());
  });

  test("deprecated name reads the same", async () => {
    await add({ message_id: "a", script: ["DELIVERED"] });
    assert.deepEqual(ids((await client.events({ count: 5 })).events), ["a"]);
  });
});

describe("dead letter queue", () => {
  test("failed message is in the queue with the answer of its destination", async () => {
    const outcome = { status: 404, body: "gone", headers: { "X-Why": "y" } };
    await control("qstash/plans", { pattern: "*", outcomes: [outcome] });
    const flowControl = { key: "k", parallelism: 2, ratePerSecond: 5, period: "1d" };
    const { messageId } = await client.publish({ url: HOOK, body: "hi", retries: 0, flowControl, label: "mine" });
    await advance(5);
    const [letter] = await dlq({ filter: { messageId } });
    assert.deepEqual([letter.messageId, letter.url, letter.body, letter.label], [messageId, HOOK, "hi", "mine"]);
    assert.deepEqual([letter.responseStatus, letter.responseBody], [404, "gone"]);
    assert.deepEqual(letter.responseHeader["X-Why"], ["y"]);
    assert.deepEqual([letter.flowControlKey, letter.rate, letter.ratePerSecond, letter.period], ["k", 5, 5, 86400]);
    assert.deepEqual((await dlq({ dlqIds: [letter.dlqId] })).length, 1);
  });

  test("filters choose, and must all fit", async () => {
    await add([
      { message_id: "a", script: ["FAILED"], labels: ["x"], response_status: 410 },
      { message_id: "b", script: ["FAILED"], queue: "q", topic: "team", schedule_id: "scd" },
    ]);
    const expected = [
      [{}, ["a", "b"]],
      [{ label: "x", responseStatus: [410, 500] }, ["a"]],
      [{ label: "x", responseStatus: 500 }, []],
      [{ queueName: "q", urlGroup: "team", scheduleId: ["scd", "other"] }, ["b"]],
      [{ callerIp: "127.0.0.1", fromDate: new Date(0), url: "https://example.com/hook" }, ["a", "b"]],
      [{ toDate: 1 }, []],
    ];
    for (const [filter, found] of expected) {
      assert.deepEqual(ids(await dlq({ filter })), found, JSON.stringify(filter));
    }
    await refused(client.dlq.listMessages({ filter: { lable: "x" } }), 400, /lable/);
  });

  test("cursor leads to the end, oldest first", async () => {
    const names = Array.from({ length: 7 }, (_, number) => `m${number}`);
    await fail(...names);
    const found = await pages(async (cursor) => {
      const page = await client.dlq.listMessages({ cursor, count: 3 });
      return { items: page.messages, cursor: page.cursor };
    });
    assert.deepEqual(found.map((one) => one.messageId), names);
  });

  test("messages are deleted: one, several, by filter, and page by page", async () => {
    await fail("a", "b", "c", "d", "e", "f", "g");
    const [a, b, c, d] = (await dlq()).map((one) => one.dlqId);
    assert.deepEqual(await client.dlq.delete(a), { deleted: 1 });
    await refused(client.dlq.delete(a), 404, /not found/);
    assert.equal((await client.dlq.delete([b])).deleted, 1);
    assert.equal((await client.dlq.delete({ dlqIds: c })).deleted, 1);
    assert.equal((await client.dlq.deleteMany({ dlqIds: [d] })).deleted, 1);
    assert.equal((await client.dlq.delete({ filter: { label: "nobody" } })).deleted, 0);
    const first = await client.dlq.delete({ all: true, count: 2 });
    assert.equal(first.deleted, 2);
    assert(first.cursor);
    const second = await client.dlq.delete({ all: true, count: 2, cursor: first.cursor });
    assert.deepEqual([second.deleted, second.cursor], [1, undefined]);
    assert.deepEqual(await dlq(), []);
  });

  test("messages are retried: one, several, by filter, and page by page", async () => {
    await fail("a", "b", "c", "d", "e");
    const [a, b] = (await dlq()).map((one) => one.dlqId);
    const { responses } = await client.dlq.retry(a);
    assert.equal(responses.length, 1);
    assert.notEqual(responses[0].messageId, "a");
    await refused(client.dlq.retry(a), 404, /DLQ/);
    assert.equal((await client.dlq.retry([b])).responses.length, 1);
    const first = await client.dlq.retry({ filter: { url: "https://example.com/hook" }, count: 2 });
    assert.equal(first.responses.length, 2);
    const second = await client.dlq.retry({ all: true, cursor: first.cursor });
    assert.deepEqual([second.responses.length, second.cursor], [1, undefined]);
    await advance(5);
    assert.equal((await logs({ messageIds: [responses[0].messageId] }))[0].state, "DELIVERED");
    assert.deepEqual(await dlq(), []);
  });
});

describe("schedules", () => {
  test("schedule has everything it was given", async () => {
    const { scheduleId } = await client.schedules.create({
      destination: HOOK,
      cron: "CRON_TZ=Europe/Berlin */10 * * * *",
      body: '{"n":1}',
      headers: { "X-Key": "k" },
      method: "PATCH",
      retries: 1,
      retryDelay: "2000",
      delay: 5,
      timeout: "10s",
      scheduleId: "mine",
      queueName: "q",
      label: ["nightly", "x"],
      callback: "https://cb.example/",
      failureCallback: "https://cb.example/bad",
      flowControl: { key: "k", rate: 5, period: 60 },
    });
    assert.equal(scheduleId, "mine");
    const schedule = await client.schedules.get("mine");
    assert.deepEqual([schedule.scheduleId, schedule.destination, schedule.method], ["mine", HOOK, "PATCH"]);
    assert.deepEqual([schedule.cron, schedule.body], ["CRON_TZ=Europe/Berlin */10 * * * *", '{"n":1}']);
    assert.deepEqual(schedule.header, { "Content-Type": ["application/json"], "X-Key": ["k"] });
    assert.deepEqual([schedule.retries, schedule.retryDelayExpression, schedule.delay], [1, "2000", 5]);
    assert.deepEqual([schedule.queueName, schedule.label, schedule.labels], ["q", "nightly", ["nightly", "x"]]);
    assert.deepEqual([schedule.callback, schedule.failureCallback], ["https://cb.example/", "https://cb.example/bad"]);
    assert.deepEqual([schedule.flowControlKey, schedule.rate, schedule.ratePerSecond], ["k", 5, 5]);
    assert.equal(schedule.isPaused, false);
    assert(schedule.nextScheduleTime > schedule.createdAt);
  });

  test("schedule runs, pauses, resumes and goes", async () => {
    const { scheduleId } = await client.schedules.create({ destination: HOOK, cron: "* * * * *" });
    await advance(65);
    const runs = ids(await logs({ filter: { scheduleId, state: "DELIVERED" } }));
    assert(runs.length >= 1);
    const { lastScheduleStates } = await client.schedules.get(scheduleId);
    assert.equal(lastScheduleStates[runs[0]], "SUCCESS");
    await client.schedules.pause({ schedule: scheduleId });
    assert.equal((await client.schedules.list())[0].isPaused, true);
    await client.schedules.resume({ schedule: scheduleId });
    assert.equal((await client.schedules.list())[0].isPaused, false);
    await client.schedules.delete(scheduleId);
    assert.deepEqual(await client.schedules.list(), []);
    await refused(client.schedules.get(scheduleId), 404, /not found/);
  });

  test("schedule sends to a URL group, and a bad cron is refused", async () => {
    await client.urlGroups.addEndpoints(GROUP);
    const { scheduleId } = await client.schedules.create({ destination: "team", cron: "* * * * *" });
    await advance(65);
    const found = await logs({ filter: { scheduleId, urlGroup: "team", state: "DELIVERED" } });
    assert.deepEqual([...new Set(found.map((one) => one.url))].sort(), ["https://a.example", "https://b.example"]);
    await refused(client.schedules.create({ destination: HOOK, cron: "soon" }), 400, /cron/);
  });
});

describe("queues", () => {
  test("queue lives", async () => {
    await queue().upsert({ parallelism: 2, paused: true });
    const found = await queue().get();
    assert.deepEqual([found.name, found.parallelism, found.paused, found.lag], ["q", 2, true, 0]);
    assert(found.createdAt <= found.updatedAt);
    await queue().resume();
    assert.equal((await queue().list())[0].paused, false);
    await queue().pause();
    assert.equal((await queue().get()).paused, true);
    await queue().upsert({});
    assert.deepEqual([(await queue().get()).parallelism, (await queue().get()).paused], [1, false]);
    await queue().delete();
    assert.deepEqual(await queue().list(), []);
    await refused(queue().get(), 404, /not found/);
  });

  test("messages go through it in their order", async () => {
    await queue().upsert({ paused: true });
    const first = await queue().enqueueJSON({ url: HOOK, body: [1] });
    const second = await queue().enqueue({ url: HOOK, body: "2" });
    const message = await client.messages.get(first.messageId);
    assert.deepEqual([message.queueName, message.body], ["q", "[1]"]);
    assert.equal((await queue().get()).lag, 2);
    await queue().resume();
    await advance(5);
    const delivered = (await logs({ filter: { queueName: "q", state: "DELIVERED" } })).map((one) => one.messageId);
    assert.deepEqual(delivered, [second.messageId, first.messageId]);
  });

  test("URL group goes through it, a delay does not", async () => {
    await client.urlGroups.addEndpoints(GROUP);
    assert.equal((await queue().enqueue({ urlGroup: "team", body: "x" })).length, 2);
    await refused(queue().enqueue({ url: HOOK, delay: 5 }), 400, /delay/);
  });
});

describe("URL groups", () => {
  test("URL group lives, also under its old name", async () => {
    await client.urlGroups.addEndpoints(GROUP);
    const found = await client.urlGroups.get("team");
    assert.deepEqual(found.endpoints, [{ name: "a", url: "https://a.example" }, { url: "https://b.example" }]);
    assert(found.createdAt <= found.updatedAt);
    await client.urlGroups.removeEndpoints({ name: "team", endpoints: [{ name: "a" }] });
    assert.deepEqual((await client.topics.list()).map((one) => one.endpoints.length), [1]);
    await client.urlGroups.delete("team");
    assert.deepEqual(await client.urlGroups.list(), []);
    await refused(client.urlGroups.get("team"), 404, /not found/);
  });
});

describe("flow control", () => {
  test("key is read, paused, pinned and reset", async () => {
    const flowControl = { key: "user:1", parallelism: 1 };
    const { flowControl: flow } = client;
    for (const body of ["1", "2"]) await client.publish({ url: HOOK, body, flowControl });
    let found = await flow.get("user:1");
    assert.deepEqual(
      [found.flowControlKey, found.parallelismMax, found.parallelismCount, found.waitListSize],
      ["user:1", 1, 1, 1],
    );
    assert.equal((await flow.getGlobalParallelism()).parallelismCount, 1);
    await flow.pause("user:1");
    await flow.pin("user:1", { parallelism: 4, rate: 10, period: 60 });
    found = await flow.get("user:1");
    assert.deepEqual([found.isPaused, found.isPinnedParallelism, found.isPinnedRate], [true, true, true]);
    assert.deepEqual([found.parallelismMax, found.rateMax, found.ratePeriod], [4, 10, 60]);
    await flow.resetRate("user:1");
    assert.equal((await flow.get("user:1")).rateCount, 0);
    await flow.unpin("user:1", { parallelism: true, rate: true });
    await flow.resume("user:1");
    found = await flow.get("user:1");
    assert.deepEqual([found.isPaused, found.isPinnedParallelism, found.isPinnedRate], [false, false, false]);
    await refused(flow.get("nobody"), 404, /not found/);
  });
});

describe("signatures", () => {
  let local;
  const keys = () => client.http.request({ method: "GET", path: ["v2", "keys"] });
  const receiver = ({ current, next }) => new Receiver({ currentSigningKey: current, nextSigningKey: next });
  const deliver = async () => {
    const got = await local.after(() => client.publishJSON({ url: local.url, body: { ä: 1 } }));
    return { signature: got.headers["upstash-signature"], body: got.body, url: local.url };
  };

  before(async () => (local = await destination()));
  after(() => local.close());

  test("delivered message is signed, and nothing else passes", async () => {
    const delivered = await deliver();
    const check = receiver(await keys());
    assert.equal(await check.verify(delivered), true);
    const signature = `${delivered.signature.slice(0, -4)}AAAA`;
    for (const wrong of [{ body: `${delivered.body} ` }, { url: `${local.url}0` }, { signature }]) {
      await assert.rejects(check.verify({ ...delivered, ...wrong }), SignatureError);
    }
  });

  test("delivered message is signed after the keys were rotated", async () => {
    const old = await keys();
    const rotate = () => client.http.request({ method: "POST", path: ["v2", "keys", "rotate"] });
    assert.equal((await rotate()).current, old.next);
    // Who has the old keys knows the new one as the next.
    assert.equal(await receiver(old).verify(await deliver()), true);
    await rotate();
    await assert.rejects(receiver(old).verify(await deliver()), SignatureError);
    assert.equal(await receiver(await keys()).verify(await deliver()), true);
  });

  test("callback is signed and tells the answer", async () => {
    const got = await local.after(async () => {
      await client.publish({ url: HOOK, body: "hi", callback: local.url });
      await advance(1);
    });
    const check = receiver(await keys());
    assert.equal(await check.verify({ signature: got.headers["upstash-signature"], body: got.body }), true);
    const told = JSON.parse(got.body);
    assert.deepEqual([told.status, told.url, atob(told.sourceBody)], [200, HOOK, "hi"]);
  });
});

describe("errors", () => {
  test("strange token, region and right are refused", async () => {
    const list = (token) => new Client({ ...OPTIONS, token }).queue().list();
    await refused(list("x"), 401, /invalid token/);
    await refused(list("sandbox-us-token"), 404, /user not found in this region/);
    const reader = new Client({ ...OPTIONS, token: "sandbox-read-only-token" });
    assert.deepEqual((await reader.logs()).logs, []);
    await refused(reader.publish({ url: HOOK }), 403, /read-only/);
  });

  test("burst limit and daily limit differ", async () => {
    await settings({ qstash_burst_limit: 0, qstash_daily_limit: 0 });
    await assert.rejects(client.logs(), (error) => {
      assert(error instanceof QstashRatelimitError);
      assert.deepEqual([error.limit, error.remaining], ["0", "0"]);
      return Number(error.reset) > 0;
    });
    await assert.rejects(client.publish({ url: HOOK }), (error) => {
      assert(error instanceof QstashDailyRatelimitError);
      assert.deepEqual([error.limit, error.remaining], ["0", "0"]);
      return Number(error.reset) > 0;
    });
  });

  test("lost answer is retried, and sends once with a deduplication id", async () => {
    mock.method(console, "warn", () => {});
    await control("faults", { kind: "drop_after", path: "/qstash/v2/publish/*", times: 1 });
    const patient = new Client({ ...OPTIONS, retry: { retries: 2, backoff: () => 1 } });
    const sent = await patient.publish({ url: HOOK, deduplicationId: "once" });
    assert.equal(sent.deduplicated, true);
    assert.equal((await control("qstash/messages")).messages.length, 1);
  });
});

test("workflow run is cancelled by this client, too", async () => {
  await control("qstash/workflow-runs", { run_id: "wfr_1" });
  assert.equal(await client.workflow.cancel("wfr_1"), true);
  await refused(client.workflow.cancel("wfr_1"), 404, /not found/);
});

test("every method of the client was called", () => {
  // The sandbox has no language models.
  open.delete("chat");
  assert.deepEqual([...open], []);
});
