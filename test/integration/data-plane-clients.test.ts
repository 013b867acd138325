/** The official clients when things go wrong: every class of error in their own exceptions, and what their retries do to us. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const SMALL = `${OPEN}[provider.small]\nmodels = mock\n[capacity]\nmax_concurrent = 1\n[allocator.priority.level.4]\nmax_depth = 1\n`;
const call = { model: "mock", max_tokens: 4, messages: [{ role: "user" as const, content: "hello" }] };
const LONG = { headers: { "x-mock-output-tokens": "100000" } };

let bed: TestBed;
/** Attempts since the last look, each with what was answered. */
let answers: Response[] = [];

const counted: typeof fetch = async (...request) => {
	const answer = await fetch(...request);
	answers.push(answer);
	return answer;
};

function clients(maxRetries?: number, through = counted) {
	const { dataUrl } = bed.gateway;
	const common = { apiKey: "none", fetch: through, ...(maxRetries === undefined ? {} : { maxRetries }) };
	return {
		openai: new OpenAI({ ...common, baseURL: `${dataUrl}/v1`, defaultHeaders: { Authorization: null } }),
		anthropic: new Anthropic({ ...common, baseURL: dataUrl, defaultHeaders: { "x-api-key": null } }),
	};
}

const core = () => bed.gateway.plane.engine.core;

/** One runs, one waits, and the queue has no more room; resolves with what makes room again. */
async function fillQueue(): Promise<() => void> {
	const { openai } = clients(0, fetch);
	const leave = new AbortController();
	onTestFinished(() => leave.abort());
	const long = { ...call, max_tokens: 100_000, stream: true as const };
	const ask = () => openai.chat.completions.create(long, { ...LONG, signal: leave.signal }).catch(() => {});
	void ask();
	await until("one runs", () => core().pools[0]!.endpoints[0]!.sequences === 1);
	void ask();
	await until("one waits", () => core().waitingCount === 1);
	answers = [];
	return () => leave.abort();
}

beforeAll(async () => {
	bed = await openTestBed(SMALL, { speed: 5 });
});

afterAll(() => bed.close());

describe("errors that no retry mends are tried once, even by clients that retry", () => {
	test.each([
		["an unknown token", {}, { Authorization: "Bearer tok_x" }, 401, "unknown_token"],
		["a model of nobody", { model: "other" }, {}, 404, "model_not_served"],
		["a wrong field", { max_tokens: "many" }, {}, 400, "invalid_request"],
		["a wrong deadline", {}, { "X-Request-Deadline-Ms": "soon" }, 400, "invalid_header_value"],
	])("openai: %s", async (_, change, headers, status, code) => {
		answers = [];
		const asked = clients().openai.chat.completions.create({ ...call, ...change } as typeof call, { headers });
		await expect(asked).rejects.toMatchObject({ status, code });
		expect(answers).toHaveLength(1);
	});

	test.each([
		["an unknown token", {}, { "x-api-key": "tok_x" }, 401, "authentication_error", "unknown_token"],
		["a model of nobody", { model: "other" }, {}, 404, "not_found_error", "model_not_served"],
		["a wrong field", { messages: "hello" }, {}, 400, "invalid_request_error", "invalid_request"],
	])("anthropic: %s", async (_, change, headers, status, type, code) => {
		answers = [];
		const asked = clients().anthropic.messages.create({ ...call, ...change } as typeof call, { headers });
		await expect(asked).rejects.toMatchObject({ status, error: { type: "error", error: { type, code } } });
		expect(answers).toHaveLength(1);
	});
});

describe("a full queue", () => {
	test("is 503 to openai, 529 to anthropic, each with a Retry-After that clients obey", async () => {
		const leave = await fillQueue();
		const { openai, anthropic } = clients(0);
		await expect(openai.chat.completions.create(call)).rejects.toMatchObject({ status: 503, code: "queue_full" });
		await expect(anthropic.messages.create(call)).rejects.toMatchObject({
			status: 529,
			error: { error: { type: "overloaded_error", code: "queue_full" } },
		});
		for (const { headers } of answers) {
			expect(headers.get("retry-after")).toMatch(/^([1-9]|[1-5]\d|60)$/);
			expect(headers.get("x-request-id")).toMatch(/^req_/);
			expect(headers.get("x-tgw-queue")).toBe("P4");
			expect(headers.get("x-tgw-routed-by")).toBe("default");
			expect(headers.get("x-queue-wait-ms")).toMatch(/^\d+$/);
		}
		leave();
		await until("all is given back", () => atRest(bed));
	});

	test("clients that retry come back as often as they are set to, and are served once there is room", async () => {
		const leave = await fillQueue();
		const { openai, anthropic } = clients(1);
		const asked = [openai.chat.completions.create(call), anthropic.messages.create(call)];
		const settled = Promise.all(asked);
		settled.catch(() => {});
		await until("both were refused", () => answers.length === 2);
		// They wait for Retry-After now; when they come back there is room for both.
		leave();
		await settled;
		expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 503, 529]);
		await until("all is given back", () => atRest(bed));
	});
});

test("an engine that fails: the client's retries times ours stay few", async () => {
	const before = bed.mock.ledger().totals.requests;
	answers = [];
	const headers = { "x-mock-fault": "error:500" };
	await expect(clients(1).openai.chat.completions.create(call, { headers })).rejects.toMatchObject({ status: 500 });
	expect(answers).toHaveLength(2);
	expect(bed.mock.ledger().totals.requests - before).toBeLessThanOrEqual(6);
});

test("a rate limit is 429 in both forms, and says when to come back", async () => {
	const { rules } = bed.gateway.stores;
	const made = await rules.create(
		{ name: "slow", priorityOrder: 1, matchWorkload: "batch", assignPriority: 4, maxRps: 0.05 },
		"test",
	);
	expect(made.ok).toBe(true);
	await until("the rule is in force", () => bed.gateway.plane.lifecycle.rules[0]!.rule.name === "slow");
	const issued = await tokenFor("batch");
	const { openai, anthropic } = clients(0);
	const options = { headers: { Authorization: `Bearer ${issued}` } };
	await openai.chat.completions.create(call, options);
	answers = [];
	await expect(openai.chat.completions.create(call, options)).rejects.toMatchObject({
		status: 429,
		code: "rate_limited",
	});
	await expect(anthropic.messages.create(call, { headers: { "x-api-key": issued } })).rejects.toMatchObject({
		status: 429,
		error: { error: { type: "rate_limit_error", code: "rate_limited" } },
	});
	for (const { headers } of answers) expect(headers.get("retry-after")).toMatch(/^([1-9]|[1-5]\d|60)$/);
	await until("all is given back", () => atRest(bed));
});

test("anthropic: a tool call passes through, streamed and whole", async () => {
	const { anthropic } = clients(0);
	const tools = [{ name: "look_up", input_schema: { type: "object" as const, properties: { q: { type: "string" } } } }];
	const options = { headers: { "x-mock-tool-call": "1" } };
	const whole = await anthropic.messages.create({ ...call, max_tokens: 40, tools }, options);
	const streamed = await anthropic.messages.stream({ ...call, max_tokens: 40, tools }, options).finalMessage();
	for (const { content, stop_reason } of [whole, streamed]) {
		expect(content.find(({ type }) => type === "tool_use")).toMatchObject({ name: "look_up" });
		expect(stop_reason).toBe("tool_use");
	}
});

test("anthropic: an abort in mid-stream reaches the engine and gives the slot back", async () => {
	const before = bed.mock.ledger().totals.aborted;
	const stream = await clients(0).anthropic.messages.create({ ...call, max_tokens: 100_000, stream: true }, LONG);
	for await (const _ of stream) break;
	await until("the engine saw the abort", () => bed.mock.ledger().totals.aborted === before + 1);
	await until("all is given back", () => atRest(bed));
});

test("anthropic: a stream that the engine breaks off ends with an error", async () => {
	const stream = await clients(0).anthropic.messages.create(
		{ ...call, max_tokens: 50, stream: true },
		{ headers: { "x-mock-fault": "cut:after=3", "x-mock-output-tokens": "50" } },
	);
	const read = async () => {
		for await (const _ of stream);
	};
	await expect(read()).rejects.toMatchObject({ error: { error: { code: "upstream_protocol_error" } } });
});

async function tokenFor(workloadTag: string): Promise<string> {
	const { accounts, tokens } = bed.gateway.stores;
	const account = await accounts.create({ id: "acme", email: "a@b.c", name: "Acme", accountType: "external" }, "test");
	if (!account.ok) throw new Error(JSON.stringify(account));
	const token = await tokens.create({ accountId: "acme", priorityTier: "external", workloadTag }, "test");
	if (!token.ok) throw new Error(JSON.stringify(token));
	return token.value.token;
}
