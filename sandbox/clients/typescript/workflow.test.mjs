// The official client of Upstash Workflow, `@upstash/workflow`, against the sandbox, where a run follows a script.

import assert from "node:assert/strict";
import { before, beforeEach, describe, mock, test } from "node:test";
import { Client } from "@upstash/workflow";
import { OPTIONS, advance, control, pages, refused, reset, surface } from "./sandbox.mjs";

const URL = "https://example.com/workflow";

const client = new Client(OPTIONS);
const open = surface(client);

const plan = (options) => control("qstash/workflow-plans", options);
const add = (runs) => control("qstash/workflow-runs", runs);
const trigger = async (options = {}) => (await client.trigger({ url: URL, ...options })).workflowRunId;
const runs = async (filter) => (await client.logs({ filter })).runs;
const states = async (filter) =>
  Object.fromEntries((await runs(filter)).map((one) => [one.workflowRunId, one.workflowState]));
const failed = async (filter) => (await client.dlq.list({ filter })).messages;
const fail = (...names) =>
  add(names.map((name) => ({ run_id: name, script: ["RUN_FAILED"], response_status: 503, response_body: "busy" })));

// The client prints every refusal, also those that a check asks for.
before(() => mock.method(console, "error", () => {}));
beforeEach(reset);

describe("trigger", () => {
  test("run has the id that was asked for, succeeds, and has returned something", async () => {
    await plan({ script: [["RUN_STARTED", 2], ["RUN_SUCCESS", null]], response: '{"rows":3}' });
    assert.equal(await trigger({ workflowRunId: "mine", body: { n: 1 } }), "wfr_mine");
    assert.deepEqual(await states(), { wfr_mine: "RUN_STARTED" });
    await advance(3);
    const [run] = await runs();
    assert.deepEqual([run.workflowState, run.workflowRunResponse], ["RUN_SUCCESS", '{"rows":3}']);
    assert.equal(run.workflowUrl, URL);
    assert(run.workflowRunCompletedAt > run.workflowRunCreatedAt);
    const [first] = run.steps[0].steps;
    assert.deepEqual([first.stepName, first.stepType, first.state], ["init", "Initial", "STEP_SUCCESS"]);
    assert.deepEqual([first.out, first.retries], ['{"n":1}', 3]);
    assert.match(first.messageId, /^msg_/);
  });

  test("id is random by default, and several runs begin at once", async () => {
    const begun = await client.trigger([{ url: URL }, { url: URL, body: "x" }]);
    assert.deepEqual(Object.keys(await states()).sort(), begun.map((one) => one.workflowRunId).sort());
    assert.equal(begun.length, 2);
  });

  test("id whose run is at work begins nothing, and is answered as a duplicate", async () => {
    await trigger({ workflowRunId: "mine" });
    const headers = { "Upstash-Workflow-Init": "true", "Upstash-Workflow-RunId": "wfr_mine" };
    const path = ["v2", "publish", URL];
    const again = await client.client.http.request({ method: "POST", path, headers });
    assert.equal(again.deduplicated, true);
    assert.equal(await trigger({ workflowRunId: "mine" }), "wfr_mine");
    assert.equal((await runs()).length, 1);
    await advance(3);
    await trigger({ workflowRunId: "mine" });
    assert.deepEqual((await runs({ workflowRunId: "wfr_mine" })).map((one) => one.workflowState), [
      "RUN_STARTED",
      "RUN_SUCCESS",
    ]);
  });

  test("options are kept", async () => {
    const [first, second] = await client.trigger([
      {
        url: URL,
        label: ["a", "b"],
        delay: "1h",
        retries: 2,
        retryDelay: "1000",
        headers: { "X-Key": "k" },
        flowControl: { key: "k", parallelism: 1 },
        failureUrl: "https://example.com/failed",
        redact: { body: true },
      },
      { url: URL, notBefore: Math.ceil(Date.now() / 1000) + 7200 },
    ]);
    const [run] = await runs({ label: "b" });
    assert.equal(run.workflowRunId, first.workflowRunId);
    assert.deepEqual([run.label, run.labels, run.flowControlKey], ["a", ["a", "b"], "k"]);
    await advance(3605);
    assert.deepEqual(await states(), { [first.workflowRunId]: "RUN_SUCCESS", [second.workflowRunId]: "RUN_STARTED" });
    await advance(3605);
    assert.equal((await states())[second.workflowRunId], "RUN_SUCCESS");
  });
});

describe("logs", () => {
  test("filters choose, and must all fit", async () => {
    const other = "https://other.example/path";
    await add([
      { run_id: "wfr_1", script: ["RUN_FAILED"], labels: ["x", "y"] },
      { run_id: "wfr_2", script: ["RUN_STARTED"], labels: ["x"], url: other },
    ]);
    const created = (await runs({ workflowRunId: "wfr_1" }))[0].workflowRunCreatedAt;
    const expected = [
      [{}, ["wfr_1", "wfr_2"]],
      [{ state: "RUN_FAILED" }, ["wfr_1"]],
      [{ label: ["y", "z"] }, ["wfr_1"]],
      [{ label: "x", workflowUrl: other }, ["wfr_2"]],
      [{ host: "other.example", path: "/path" }, ["wfr_2"]],
      [{ workflowRunId: "wfr_1", workflowCreatedAt: created }, ["wfr_1"]],
      [{ workflowRunId: "wfr_1", workflowCreatedAt: 1 }, []],
      [{ callerIp: "127.0.0.1", fromDate: new Date(0) }, ["wfr_1", "wfr_2"]],
      [{ toDate: 1 }, []],
    ];
    for (const [filter, found] of expected) {
      assert.deepEqual(Object.keys(await states(filter)).sort(), found, JSON.stringify(filter));
    }
    assert.equal((await client.logs({ workflowRunId: "wfr_2", state: "RUN_STARTED" })).runs.length, 1);
    await refused(client.logs({ filter: { lable: "x" } }), 400, /lable/);
  });

  test("cursor leads to the end, newest first", async () => {
    const names = Array.from({ length: 25 }, (_, number) => `wfr_${number}`);
    await add(names.map((name) => ({ run_id: name })));
    const found = await pages(async (cursor) => {
      const page = await client.logs({ cursor, count: 8 });
      return { items: page.runs, cursor: page.cursor };
    });
    assert.deepEqual(found.map((one) => one.workflowRunId), names.reverse());
  });

  test("failed run says what its endpoint answered", async () => {
    await fail("wfr_1");
    const [run] = await runs();
    const [step] = run.steps.at(-1).steps;
    assert.equal(run.steps.at(-1).type, "next");
    assert.equal(step.state, "STEP_FAILED");
    const [error] = step.errors;
    assert.deepEqual([error.status, error.body, error.headers], [503, "busy", {}]);
    assert.match(error.error, /503/);
    assert.equal(typeof error.time, "number");
    assert.equal((await failed())[0].dlqId, run.dlqId);
  });
});

describe("cancel", () => {
  test("runs are cancelled by their ids, once", async () => {
    const [a, b, c] = [await trigger(), await trigger(), await trigger()];
    assert.deepEqual(await client.cancel(a), { cancelled: 1 });
    assert.deepEqual(await client.cancel(a), { cancelled: 0 });
    assert.deepEqual(await client.cancel([a, b, "nobody"]), { cancelled: 1 });
    assert.deepEqual(await client.cancel({ ids: c }), { cancelled: 1 });
    assert.deepEqual(new Set(Object.values(await states())), new Set(["RUN_CANCELED"]));
    assert.deepEqual(await client.cancel([]), { cancelled: 0 });
  });

  test("runs are cancelled by filters", async () => {
    const flowControl = { key: "k", rate: 1 };
    const other = "https://other.example/path";
    for (const options of [{ url: `${URL}/1` }, {}, { label: "x" }, { flowControl }, { url: other }]) {
      await trigger(options);
    }
    const cancel = (filter) => client.cancel({ filter });
    assert.deepEqual(await cancel({ label: "x", workflowUrl: "https://nobody.example" }), { cancelled: 0 });
    assert.deepEqual(await cancel({ label: ["x", "y"], workflowUrl: [URL, other] }), { cancelled: 1 });
    assert.deepEqual(await cancel({ flowControlKey: "k", callerIp: "127.0.0.1" }), { cancelled: 1 });
    assert.deepEqual(await cancel({ host: "other.example", path: "/path" }), { cancelled: 1 });
    assert.deepEqual(await cancel({ toDate: new Date(0) }), { cancelled: 0 });
    assert.deepEqual(await cancel({ workflowUrl: URL }), { cancelled: 1 });
    assert.deepEqual(await client.cancel({ urlStartingWith: URL }), { cancelled: 1 });
    assert.deepEqual(await client.cancel({ all: true }), { cancelled: 0 });
  });
});

describe("events", () => {
  const waiting = [["RUN_STARTED", 1], ["WAIT approved", null], ["RUN_SUCCESS", null]];

  test("waiting runs are told, and continue", async () => {
    await plan({ script: waiting });
    const runId = await trigger();
    assert.deepEqual(await client.notify({ eventId: "approved" }), []);
    await advance(2);
    const [waiter] = await client.getWaiters({ eventId: "approved" });
    assert.equal(waiter.url, URL);
    assert(waiter.deadline > Date.now() / 1000);
    const told = await client.notify({ eventId: "approved", eventData: { by: "Ada" } });
    assert.deepEqual(told.map((one) => [one.workflowRunId, one.error]), [[runId, undefined]]);
    assert.match(told[0].messageId, /^msg_/);
    assert.equal(told[0].waiter.url, URL);
    assert.deepEqual(await states(), { [runId]: "RUN_SUCCESS" });
    const [run] = (await control("qstash/workflow-runs"))["workflow-runs"];
    assert.deepEqual(run.events, [["approved", '{"by":"Ada"}']]);
  });

  test("one of the waiting runs is told", async () => {
    await add(["wfr_1", "wfr_2"].map((name) => ({ run_id: name, script: waiting.slice(1) })));
    await client.notify({ eventId: "approved", workflowRunId: "wfr_2" });
    assert.deepEqual(await states(), { wfr_1: "RUN_STARTED", wfr_2: "RUN_SUCCESS" });
  });
});

describe("dead letter queue", () => {
  test("failed run is in the queue with the answer of its endpoint", async () => {
    await plan({ script: ["RUN_FAILED"], response_status: 418, response_body: "no" });
    const options = { body: { n: 1 }, label: ["a", "b"], headers: { "X-Key": "k" }, failureUrl: `${URL}/failed` };
    const runId = await trigger(options);
    const [letter] = await failed({ workflowRunId: runId });
    assert.deepEqual([letter.workflowRunId, letter.workflowUrl, letter.body], [runId, URL, '{"n":1}']);
    assert.deepEqual([letter.responseStatus, letter.responseBody, letter.responseHeader], [418, "no", {}]);
    assert.deepEqual([letter.label, letter.labels], ["a", ["a", "b"]]);
    assert.deepEqual(letter.header["X-Key"], ["k"]);
    assert.equal(letter.failureCallback, `${URL}/failed`);
    assert.deepEqual([letter.createdAt, letter.notBefore], [letter.workflowCreatedAt, letter.workflowCreatedAt]);
    assert.deepEqual([letter.maxRetries, letter.callerIP], [3, "127.0.0.1"]);
  });

  test("filters choose, a message of QStash is not among them", async () => {
    await fail("wfr_1", "wfr_2");
    await control("qstash/messages", { message_id: "m", script: ["FAILED"] });
    const expected = [
      [{}, ["wfr_1", "wfr_2"]],
      [{ workflowRunId: "wfr_1" }, ["wfr_1"]],
      [{ workflowUrl: [URL, "https://nobody.example"], fromDate: new Date(0) }, ["wfr_1", "wfr_2"]],
      [{ workflowUrl: "https://nobody.example" }, []],
      [{ label: "x" }, []],
    ];
    for (const [filter, found] of expected) {
      assert.deepEqual((await failed(filter)).map((one) => one.workflowRunId).sort(), found, JSON.stringify(filter));
    }
    await refused(client.dlq.list({ filter: { lable: "x" } }), 400, /lable/);
  });

  test("cursor leads to the end", async () => {
    const names = Array.from({ length: 7 }, (_, number) => `wfr_${number}`);
    await fail(...names);
    const found = await pages(async (cursor) => {
      const page = await client.dlq.list({ cursor, count: 3 });
      return { items: page.messages, cursor: page.cursor };
    });
    assert.deepEqual(found.map((one) => one.workflowRunId).sort(), names);
  });

  for (const how of ["resume", "restart"]) {
    test(`${how}: one, several, by filter, and page by page`, async () => {
      await fail("wfr_1", "wfr_2", "wfr_3", "wfr_4", "wfr_5", "wfr_6");
      const id = Object.fromEntries((await failed()).map((one) => [one.workflowRunId, one.dlqId]));
      const options = { retries: 1, flowControl: { key: "k", rate: 1 } };
      const { workflowRuns, cursor } = await client.dlq[how](id.wfr_1, options);
      assert.equal(workflowRuns.length, 1);
      assert.equal(cursor, undefined);
      assert.equal((await runs({ flowControlKey: "k" }))[0].workflowRunId, workflowRuns[0].workflowRunId);
      await refused(client.dlq[how](id.wfr_1), 404, /not found/);
      assert.equal((await client.dlq[how]([id.wfr_2])).workflowRuns.length, 1);
      assert.match((await client.dlq[how]({ dlqId: id.wfr_3 })).workflowRunId, /^wfr_/);
      assert.equal((await client.dlq[how]({ filter: { workflowRunId: "wfr_4" } })).workflowRuns.length, 1);
      const first = await client.dlq[how]({ all: true, count: 1 });
      assert.equal(first.workflowRuns.length, 1);
      const second = await client.dlq[how]({ all: true, cursor: first.cursor });
      assert.deepEqual([second.workflowRuns.length, second.cursor], [1, undefined]);
      assert.deepEqual(await failed(), []);
      assert.equal((await runs({ state: "RUN_STARTED" })).length, 6);
    });
  }

  test("failed runs are deleted: one, several, by filter, and page by page", async () => {
    await fail("wfr_1", "wfr_2", "wfr_3", "wfr_4", "wfr_5");
    const id = Object.fromEntries((await failed()).map((one) => [one.workflowRunId, one.dlqId]));
    assert.equal((await client.dlq.delete(id.wfr_1)).deleted, 1);
    assert.equal((await client.dlq.delete([id.wfr_1, id.wfr_2])).deleted, 1);
    assert.equal((await client.dlq.delete({ filter: { workflowRunId: "wfr_3" } })).deleted, 1);
    const first = await client.dlq.delete({ all: true, count: 1 });
    assert.equal(first.deleted, 1);
    const second = await client.dlq.delete({ all: true, cursor: first.cursor });
    assert.deepEqual([second.deleted, second.cursor], [1, undefined]);
    assert.deepEqual(await failed(), []);
  });

  test("failure function is not emulated, and the answer says so", async () => {
    await fail("wfr_1");
    const [{ dlqId }] = await failed();
    await refused(client.dlq.retryFailureFunction({ dlqId }), 501, /not emulated/);
  });
});

test("every method of the client was called", () => assert.deepEqual([...open], []));
