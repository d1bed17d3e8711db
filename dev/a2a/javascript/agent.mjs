// An agent on the server of @a2a-js/sdk, over REST and JSON-RPC, with its layer for protocol 0.3.
//
// Usage: node agent.mjs '{"fd": 5, "port": 8098}'. It follows the script that a message is: the steps `say`,
// `file`, `status`, `hold`, `ask` and `fail` of ../script.py.

import { createServer } from 'node:http';

import { AGENT_CARD_PATH, AgentCard, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent } from '@a2a-js/sdk';
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server';
import { UserBuilder, agentCardHandler, jsonRpcHandler, restHandler } from '@a2a-js/sdk/server/express';
import express from 'express';

const options = JSON.parse(process.argv[2]);
const base = `http://127.0.0.1:${options.port}`;
const runs = [];
const requests = [];
/** The steps that follow an answer, by task. */
const left = new Map();
/** How to let a task that holds continue. */
const held = new Map();
const cancelled = new Set();

const stepsOf = (text) =>
  text.split(';').map((part) => {
    const [, word, rest] = /^\s*(\S*)\s*(.*?)\s*$/s.exec(part);
    return [word, rest];
  });

class Agent {
  async execute({ userMessage, task, taskId, contextId }, bus) {
    const text = userMessage.parts.map((part) => part.content.value).join('');
    runs.push({ task_id: taskId, context_id: contextId, message_id: userMessage.messageId, text });
    const steps = left.get(taskId)?.map(([word, rest]) => [word, rest.replaceAll('{answer}', text)]) ?? stepsOf(text);
    left.delete(taskId);
    const status = (state, said) => ({
      state: `TASK_STATE_${state}`,
      timestamp: new Date().toISOString(),
      message: said
        ? { messageId: crypto.randomUUID(), role: 'ROLE_AGENT', taskId, contextId, parts: [{ text: said }] }
        : undefined,
    });
    const update = (state, said) =>
      bus.publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON({ taskId, contextId, status: status(state, said) })));
    const add = (artifactId, part) =>
      bus.publish(
        AgentEvent.artifactUpdate(
          TaskArtifactUpdateEvent.fromJSON({ taskId, contextId, artifact: { artifactId, parts: [part] }, lastChunk: true }),
        ),
      );
    const begun = Task.fromJSON({ id: taskId, contextId, status: status('SUBMITTED') });
    // As the SDK wants it, a task comes first, also where it continues.
    bus.publish(AgentEvent.task(task ?? { ...begun, history: [userMessage] }));
    update('WORKING');
    for (const [index, [word, rest]] of steps.entries()) {
      if (word === 'say') add('text', { text: rest });
      else if (word === 'status') update('WORKING', rest);
      else if (word === 'hold') await new Promise((resolve) => held.set(taskId, resolve));
      else if (word === 'file') {
        const [filename, ...content] = rest.split(' ');
        const raw = Buffer.from(content.join(' ')).toString('base64');
        add(filename, { raw, filename, mediaType: 'text/plain' });
      } else if (word === 'ask') {
        left.set(taskId, steps.slice(index + 1));
        update('INPUT_REQUIRED', rest);
        bus.finished();
        return;
      } else if (word === 'fail') {
        update('FAILED', rest);
        bus.finished();
        return;
      }
      if (cancelled.has(taskId)) {
        update('CANCELED');
        bus.finished();
        return;
      }
    }
    update('COMPLETED');
    bus.finished();
  }

  async cancelTask(taskId, bus) {
    cancelled.add(taskId);
    if (held.has(taskId)) {
      held.get(taskId)();
      return;
    }
    // It waits for an answer: nothing runs.
    const status = { state: 'TASK_STATE_CANCELED', timestamp: new Date().toISOString() };
    bus.publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON({ taskId, status })));
    bus.finished();
  }
}

const card = AgentCard.fromJSON({
  name: 'Scripted agent in JavaScript',
  description: 'Follows the script that a message is.',
  version: '1.0.0',
  supportedInterfaces: [
    { url: `${base}/rest`, protocolBinding: 'HTTP+JSON', protocolVersion: '1.0' },
    { url: `${base}/rpc`, protocolBinding: 'JSONRPC', protocolVersion: '1.0' },
    { url: `${base}/rpc`, protocolBinding: 'JSONRPC', protocolVersion: '0.3' },
  ],
  capabilities: { streaming: true },
  defaultInputModes: ['text/plain'],
  defaultOutputModes: ['text/plain'],
});
const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), new Agent());
const served = { requestHandler, userBuilder: UserBuilder.noAuthentication, legacyCompat: { enabled: true } };

const control = express.Router();
control.use((request, response) => {
  const [, what, taskId] = request.path.split('/');
  if (what === 'release') held.get(taskId)?.();
  if (what === 'reset') [runs, requests].forEach((list) => list.splice(0));
  response.json({ runs, requests, pid: process.pid });
});

const app = express();
app.use('/_control', control);
app.use((request, _response, next) => {
  requests.push({ path: request.path, method: null, query: request.query });
  next();
});
app.use(`/${AGENT_CARD_PATH}`, agentCardHandler({ agentCardProvider: requestHandler }));
app.use('/rest', restHandler({ ...served, legacyCompat: undefined }));
app.use('/rpc', jsonRpcHandler(served));
createServer(app).listen({ fd: options.fd });
