/** What a request takes is given back once, on paths where it waits before the scheduler or where something is wrong with the gateway itself. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { readAdminToken } from "../../src/app/admin-files.ts";
import type { Exchange } from "../../src/http/exchange.ts";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const GUARDED = `${OPEN}[classifier.header]
enabled = true
trusted_cidrs = 127.0.0.1/32
require_token = false
[capacity_guard]
enabled = true
max_tps = 1
buffer_pct = 0
action = queue
`;

async function open(ini: string, ...rest: [Parameters<typeof openTestBed>[1]?, string?]): Promise<TestBed> {
	const bed = await openTestBed(ini, ...rest);
	onTestFinished(() => bed.close());
	return bed;
}

// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
const jsonOf = (response: Response): Promise<any> => response.json();

async function admin({ gateway, folder }: TestBed, method: string, path: string, body?: unknown) {
	const response = await fetch(`${gateway.adminUrl}/v1/admin${path}`, {
		method,
		headers: { authorization: `Bearer ${readAdminToken(folder, undefined, {})}` },
		...(body === undefined ? {} : { body: JSON.stringify(body) }),
	});
	return jsonOf(response);
}

async function newToken(bed: TestBed, fields: object): Promise<string> {
	await admin(bed, "POST", "/accounts", { id: "acme", email: "a@example.com", name: "Acme", account_type: "external" });
	return (await admin(bed, "POST", "/tokens", { account_id: "acme", priority_tier: "external", ...fields })).token;
}

function ask({ gateway }: TestBed, headers: Record<string, string>, body: object = {}) {
	return fetch(`${gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", "x-mock-output-tokens": "20", ...headers },
		body: JSON.stringify({ model: "mock", max_tokens: 20, messages: [{ role: "user", content: "hello" }], ...body }),
	});
}

/** The only request under way. */
const only = ({ gateway }: TestBed): Exchange => gateway.plane.exchanges.list()[0]!;

/** A request that the guard keeps out, and its answer. */
async function held(bed: TestBed, headers: Record<string, string> = {}): Promise<[Exchange, Promise<Response>]> {
	await (await ask(bed, { "x-tgw-source": "internal" })).text();
	const answer = ask(bed, { "x-tgw-source": "spot", ...headers });
	const { plane } = bed.gateway;
	await until("it is held", () => plane.hold!.size === 1);
	return [only(bed), answer];
}

test("max_parallel_requests holds while budgets are asked", async () => {
	const bed = await open(OPEN);
	const token = await newToken(bed, { max_parallel_requests: 1, quota_tokens_per_month: 100_000 });
	const quotas = bed.gateway.plane.quotas!;
	const reserve = quotas.reserve.bind(quotas);
	let answer = () => {};
	const slow = new Promise<void>((resolve) => {
		answer = resolve;
	});
	let asked = 0;
	quotas.reserve = async (...request) => {
		asked++;
		await slow;
		return await reserve(...request);
	};
	const first = ask(bed, { authorization: `Bearer ${token}` });
	await until("the first one asks", () => asked === 1);
	const second = ask(bed, { authorization: `Bearer ${token}` });
	await Promise.race([second, until("the second one asks", () => asked === 2)]);
	answer();
	expect((await first).status).toBe(200);
	expect((await second).status).toBe(429);
	expect((await jsonOf(await second)).error.code).toBe("rate_limited");
	await until("all is given back", () => atRest(bed));
});

test("what the guard holds is among the requests that wait, and an operator may cancel it", async () => {
	const bed = await open(GUARDED);
	const [{ requestId }, answer] = await held(bed);
	const { requests } = await admin(bed, "GET", "/requests");
	expect(requests).toMatchObject([{ request_id: requestId, state: "waiting" }]);
	await admin(bed, "DELETE", `/requests/${requestId}`);
	expect((await jsonOf(await answer)).error.code).toBe("cancelled_by_operator");
	await until("all is given back", () => atRest(bed));
});

test("a request that was held beyond its deadline does not start after it", async () => {
	const bed = await open(GUARDED);
	const [exchange, answer] = await held(bed, { "x-request-deadline-ms": "30000" });
	bed.gateway.plane.hold!.remove(exchange);
	exchange.release(30_001);
	expect((await jsonOf(await answer)).error.code).toBe("deadline_unmeetable");
	expect(bed.mock.ledger().requests).toHaveLength(1);
	await until("all is given back", () => atRest(bed));
});

test("a bug at its dispatch, or at its end, ends one request and keeps nothing of it", async () => {
	const bed = await open(`${OPEN}[capacity]\nmax_concurrent = 1\n`);
	const token = await newToken(bed, { quota_tokens_per_month: 100_000 });
	const headers = { authorization: `Bearer ${token}` };
	const { plane } = bed.gateway;
	const start = plane.journal.start.bind(plane.journal);
	plane.journal.start = () => {
		throw new Error("a bug at the dispatch");
	};
	expect((await ask(bed, headers)).status).toBe(500);
	plane.journal.start = start;
	await until("all is given back", () => atRest(bed));

	const { core } = plane.engine;
	const estimateStart = core.estimateStart.bind(core);
	core.estimateStart = () => {
		throw new Error("a bug at the end");
	};
	plane.engine.change((core) => core.pause(0, 3));
	const waiting = [ask(bed, headers), ask(bed, headers)];
	await until("they wait", () => core.waitingCount === 2);
	plane.engine.change((core, now) => core.clear(0, 3, now));
	for (const answer of waiting) expect((await answer).status).toBe(500);
	core.estimateStart = estimateStart;
	await until("all is given back", () => atRest(bed));
	plane.engine.change((core, now) => core.resume(0, 3, now));
	expect((await ask(bed, headers)).status).toBe(200);
	await until("all is given back", () => atRest(bed));
});

test("a bug as its place is given back keeps nothing else of it", async () => {
	const bed = await open(OPEN);
	const token = await newToken(bed, { quota_tokens_per_month: 100_000 });
	const { engine, journal, quotas, tokenUse } = bed.gateway.plane;
	const finish = engine.finish.bind(engine);
	let unfinished: Parameters<typeof finish> | undefined;
	engine.finish = (...ending) => {
		unfinished = ending;
		throw new Error("a bug at the end");
	};
	expect((await ask(bed, { authorization: `Bearer ${token}` })).status).toBe(200);
	expect([quotas!.held, tokenUse.size, journal.status().openRecords]).toEqual([0, 0, 0]);
	engine.finish = finish;
	finish(...unfinished!);
	await until("all is given back", () => atRest(bed));
});

test("rules that change while a request is held: its own bounds it, not the one that has its place", async () => {
	const bed = await open(GUARDED);
	const { engine, lifecycle } = bed.gateway.plane;
	const [exchange, answer] = await held(bed);
	const { rule } = exchange.arrival!.rule;
	const first = { rule_name: "first", priority_order: 0, match_model: "another", max_queue_depth: 1 };
	await admin(bed, "POST", "/routing-rules", first);
	expect(lifecycle.indexOf(exchange.arrival!.rule)).toBe(exchange.arrival!.rule.index + 1);
	const submit = engine.submit.bind(engine);
	let counted: number | undefined;
	engine.submit = (request, listener) => {
		counted = request.rule;
		return submit(request, listener);
	};
	bed.gateway.plane.hold!.remove(exchange);
	exchange.release(1);
	expect((await answer).status).toBe(200);
	expect(lifecycle.rules[counted!]!.rule.id).toBe(rule.id);
	await until("all is given back", () => atRest(bed));
});

test("what the guard holds is bounded by the depth of its queue as it is now", async () => {
	const bed = await open(GUARDED);
	const [exchange, answer] = await held(bed);
	const { queue } = exchange.arrival!.submit;
	bed.gateway.plane.engine.change((core, now) => core.configureQueue(0, queue, { maxDepth: 1 }, now));
	const beyond = await ask(bed, { "x-tgw-source": "spot" });
	expect((await jsonOf(beyond)).error.code).toBe("queue_full");
	exchange.cancelByOperator();
	await answer;
	await until("all is given back", () => atRest(bed));
});

test("time that budgets take is a part of the time that a request may wait", async () => {
	const bed = await open(OPEN);
	const token = await newToken(bed, { quota_tokens_per_month: 100_000 });
	const quotas = bed.gateway.plane.quotas!;
	const reserve = quotas.reserve.bind(quotas);
	quotas.reserve = async (...request) => {
		const since = performance.now();
		await until("its deadline is over", () => performance.now() - since > 30);
		return await reserve(...request);
	};
	const late = await ask(bed, { authorization: `Bearer ${token}`, "x-request-deadline-ms": "20" });
	expect((await jsonOf(late)).error.code).toBe("deadline_unmeetable");
	expect(bed.mock.ledger().requests).toHaveLength(0);
	await until("all is given back", () => atRest(bed));
});

test("the place of a run that was aborted is free when its engine is, not before", async () => {
	const bed = await open(`${OPEN}[provider.default]\nengine = ollama\nidle_timeout = 100ms\n`, { speed: 1 });
	const { plane } = bed.gateway;
	const { engine } = plane;
	let atEnd: number | undefined;
	const onEnd = plane.onEnd;
	Object.assign(plane, {
		onEnd: (record: Parameters<typeof onEnd>[0]) => {
			atEnd = engine.size;
			onEnd(record);
		},
	});
	const stalled = await ask(bed, { "x-mock-fault": "stall:after=2" }, { stream: true });
	expect(await stalled.text()).toContain("upstream_timeout");
	expect(atEnd).toBe(1);
	await until("all is given back", () => atRest(bed));

	const answer = ask(bed, { "x-mock-output-tokens": "500" }, { max_tokens: 500 });
	await until("it runs", () => bed.mock.ledger().totals.running === 1);
	const exchange = only(bed);
	exchange.preempted();
	exchange.cancelByOperator();
	expect(engine.size).toBe(1);
	await answer;
	await until("all is given back", () => atRest(bed));
});

test("an answer that is whole is a success although its engine does not end it", async () => {
	const event = JSON.stringify({ choices: [{ index: 0, delta: { content: "well" } }] });
	const silent = createServer((request, response) => {
		request.resume();
		if (request.method === "GET") response.end("{}");
		else response.writeHead(200, { "content-type": "text/event-stream" }).write(`data: ${event}\n\ndata: [DONE]\n\n`);
	});
	await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
	onTestFinished(() => {
		silent.close();
		silent.closeAllConnections();
	});
	const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
	const bed = await open(`${OPEN}[provider.default]\nengine = vllm\nidle_timeout = 100ms\n`, {}, url);
	const text = await (await ask(bed, {}, { stream: true })).text();
	expect(text).toContain("well");
	expect(text).toContain("[DONE]");
	expect(text).not.toContain("error");
	await until("all is given back", () => atRest(bed));
});

test("rules that cannot be read are read again, and nothing is lost over it", async () => {
	const bed = await open(OPEN);
	const { rules, policy } = bed.gateway.stores;
	const all = rules.all.bind(rules);
	let asked = 0;
	rules.all = () => (++asked === 1 ? Promise.reject(new Error("the disk is away")) : all());
	const version = await policy.version();
	policy.version = () => Promise.resolve(version + 1);
	await until("they are read again", () => asked === 2);
	expect((await ask(bed, {})).status).toBe(200);
});

test("a request that no engine saw costs nothing: one that is not there, one that was left before it was connected", async () => {
	const bed = await open(OPEN);
	const rows = async () => {
		await bed.gateway.plane.journal.flushed();
		await until("the ledger has caught up", () => bed.gateway.plane.journal.status().unsentRecords === 0);
		return (await bed.gateway.stores.ledger.list({}, { limit: 10 })).items;
	};
	const { upstreams } = bed.gateway.plane;
	const forward = upstreams.forward.bind(upstreams);
	// As its first bytes would go out, an operator ends it.
	upstreams.forward = (...request) => {
		const call = forward(...request);
		queueMicrotask(() => only(bed).cancelByOperator());
		return call;
	};
	expect((await jsonOf(await ask(bed, {}))).error.code).toBe("cancelled_by_operator");
	upstreams.forward = forward;
	await bed.mock.close();
	expect((await jsonOf(await ask(bed, {}))).error.code).toBe("upstream_unavailable");
	await until("all is given back", () => atRest(bed));
	expect(await rows()).toMatchObject([
		{ promptTokens: 0, completionTokens: 0 },
		{ promptTokens: 0, completionTokens: 0 },
	]);
});

test("a place that comes for a request that is over goes to the next one", async () => {
	const bed = await open(`${OPEN}[capacity]\nmax_concurrent = 1\n`);
	const { engine } = bed.gateway.plane;
	engine.change((core) => core.pause(0, 4));
	const over = ask(bed, {});
	await until("it waits", () => engine.core.waitingCount === 1);
	// As a bug might: it ends, and the scheduler does not hear of it.
	only(bed).ended("queue_timeout", 0);
	expect((await over).status).not.toBe(200);
	engine.change((core, now) => core.resume(0, 4, now));
	expect((await ask(bed, {})).status).toBe(200);
	await until("all is given back", () => atRest(bed));
});
