/** Preemption by configuration, through the whole gateway and the mock LLM: who loses a run, what it costs them, and that nothing leaks. */
import { request as httpRequest } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const HEADERS = "[classifier.header]\nenabled = true\ntrusted_cidrs = 127.0.0.1/32\nrequire_token = false\n";
const PREEMPTING = `${OPEN}${HEADERS}[request_scheduler]
scheduler = strict
[capacity]
max_concurrent = 1
headroom = 0
[provider.default]
engine = vllm
[preemption]
enabled = true
`;

async function open(ini: string, options: Parameters<typeof openTestBed>[1] = {}): Promise<TestBed> {
	const bed = await openTestBed(ini, options);
	onTestFinished(() => bed.close());
	return bed;
}

interface Answer {
	readonly status: number;
	readonly text: string;
	readonly requestId: string;
}

type Tier = { readonly workload?: string; readonly environment?: string };
const BATCH: Tier = { workload: "batch" };
const PRODUCTION: Tier = { environment: "production" };

function ask(bed: TestBed, tier: Tier, tokens: number, stream = false, seen: (text: string) => void = () => {}) {
	let abort = () => {};
	const over = new Promise<Answer>((resolve) => {
		const request = httpRequest(`${bed.gateway.dataUrl}/v1/chat/completions`, {
			method: "POST",
			headers: {
				"content-type": "application/json",
				"x-mock-output-tokens": String(tokens),
				"x-tgw-source": "internal",
				...(tier.workload === undefined ? {} : { "x-tgw-workload": tier.workload }),
				...(tier.environment === undefined ? {} : { "x-tgw-environment": tier.environment }),
			},
		});
		abort = () => request.destroy();
		request.on("error", () => resolve({ status: 0, text: "", requestId: "" }));
		request.on("response", (response) => {
			let text = "";
			response.on("data", (chunk: Buffer) => {
				text += chunk.toString();
				seen(text);
			});
			response.on("error", () => {});
			response.on("close", () =>
				resolve({ status: response.statusCode!, text, requestId: String(response.headers["x-request-id"]) }),
			);
		});
		request.end(
			JSON.stringify({ model: "mock", max_tokens: tokens, stream, messages: [{ role: "user", content: "hi" }] }),
		);
	});
	return { over, abort: () => abort() };
}

const runs = (bed: TestBed) => until("it runs", () => bed.mock.ledger().totals.running === 1);
const preemptions = (bed: TestBed) => bed.gateway.plane.engine.core.pools[0]!.preemptions;

async function rows({ gateway }: TestBed) {
	await gateway.plane.journal.flushed();
	await until("the ledger has caught up", () => gateway.plane.journal.status().unsentRecords === 0);
	return (await gateway.stores.ledger.list({}, { limit: 1000 })).items;
}

test("batch that has sent nothing gives way, runs again later, and is billed once", async () => {
	const bed = await open(PREEMPTING);
	const batch = ask(bed, BATCH, 2000);
	await runs(bed);
	const production = await ask(bed, PRODUCTION, 5).over;
	expect(production.status).toBe(200);
	expect(preemptions(bed)).toBe(1);
	const late = await batch.over;
	expect(late.status).toBe(200);
	expect(JSON.parse(late.text).usage.completion_tokens).toBe(2000);
	await until("all is given back", () => atRest(bed));
	const ledger = await rows(bed);
	expect(ledger.map((row) => [row.outcome, row.completionTokens]).sort()).toEqual([
		["completed", 2000],
		["completed", 5],
	]);
	const metrics = await (await fetch(`${bed.gateway.adminUrl}/metrics`)).text();
	expect(metrics).toContain(
		'tokligence_scheduler_preemptions_total{pool="default",victim_priority="4",new_priority="0"} 1',
	);
	expect(metrics).toMatch(/tokligence_scheduler_throughput_tokens\{pool="default",kind="wasted"\} [1-9]/);
});

test("a stream that flows is left alone unless asked for", async () => {
	const bed = await open(PREEMPTING);
	let text = "";
	const batch = ask(bed, BATCH, 400, true, (so) => {
		text = so;
	});
	await until("it flows", () => text.includes("content"));
	const production = await ask(bed, PRODUCTION, 5).over;
	expect(production.status).toBe(200);
	expect(preemptions(bed)).toBe(0);
	expect((await batch.over).text).toContain("[DONE]");
});

test("with flowing = true it ends with a retryable error event and is billed for what it delivered", async () => {
	const bed = await open(`${PREEMPTING}flowing = true\n`);
	let text = "";
	const batch = ask(bed, BATCH, 20_000, true, (so) => {
		text = so;
	});
	await until("it flows", () => text.includes("content"));
	expect((await ask(bed, PRODUCTION, 5).over).status).toBe(200);
	const ended = await batch.over;
	expect(ended.text).toContain('"code":"preempted"');
	expect(ended.text).not.toContain("[DONE]");
	await until("all is given back", () => atRest(bed));
	const [cut] = (await rows(bed)).filter((row) => row.outcome === "preempted");
	expect(cut!.completionTokens).toBeGreaterThan(0);
	expect(cut!.completionTokens).toBeLessThan(20_000);
});

test("a request is taken back at most as often as allowed", async () => {
	const bed = await open(PREEMPTING);
	const batch = ask(bed, BATCH, 3000);
	await runs(bed);
	expect((await ask(bed, PRODUCTION, 5).over).status).toBe(200);
	await runs(bed);
	const second = ask(bed, PRODUCTION, 5);
	expect((await batch.over).status).toBe(200);
	expect((await second.over).status).toBe(200);
	expect(preemptions(bed)).toBe(1);
});

test("a storm of preemptions, with clients leaving in the middle of it, leaks nothing and settles everything once", async () => {
	const storm = PREEMPTING.replace("max_concurrent = 1", "max_concurrent = 4");
	const bed = await open(`${storm}max_preemptions_per_request = 100\nflowing = true\n`, { speed: 200 });
	const asked: ReturnType<typeof ask>[] = [];
	for (let round = 0; round < 12; round++) {
		for (let i = 0; i < 8; i++) asked.push(ask(bed, BATCH, 300 + 40 * i, i % 2 === 0));
		for (let i = 0; i < 6; i++) asked.push(ask(bed, PRODUCTION, 5 + i, i % 3 === 0));
		if (round % 2 === 1) for (let i = 0; i < 4; i++) asked[asked.length - 1 - 3 * i]!.abort();
		await until("some are done", () => bed.gateway.plane.exchanges.size < 60);
	}
	const answers = await Promise.all(asked.map(({ over }) => over));
	await until("all is given back", () => atRest(bed));
	expect(preemptions(bed)).toBeGreaterThan(10);
	const allowed = [0, 200, 503];
	expect(answers.filter(({ status }) => !allowed.includes(status))).toEqual([]);
	const ledger = await rows(bed);
	expect(new Set(ledger.map((row) => row.requestId)).size).toBe(ledger.length);
	expect(bed.gateway.plane.journal.status().openRecords).toBe(0);
	const byId = new Map(ledger.map((row) => [row.requestId, row.outcome]));
	for (const { status, text, requestId } of answers) {
		if (status === 200 && !text.includes('"preempted"')) expect(byId.get(requestId)).toBe("completed");
	}
});
