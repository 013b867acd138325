/**
 * The ledger against the engine's own count: each request that reached the engine has one row and no other has any tokens, whatever became
 * of it; nothing stays behind in the gateway. Seeded; `TOKLIGENCE_TEST_SEED` plays another mix.
 */
import { Agent, request as httpRequest } from "node:http";
import { expect, test } from "vitest";
import type { LedgerRow } from "../../src/ports/ledger-store.ts";
import { Random } from "../../src/simulate/random.ts";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const SEED = Number(process.env["TOKLIGENCE_TEST_SEED"] ?? 11);
const FAULTS = [
	...Array.from({ length: 6 }, () => undefined),
	"error:500",
	"cut:after=3",
	"overload-200",
	"garbage",
	"no-usage",
	"no-done",
	"429",
	"503",
];

interface Plan {
	readonly path: string;
	readonly stream: boolean;
	readonly outputTokens: number;
	readonly fault: string | undefined;
	/** Leaves after so many bytes of the answer; -1 before any. */
	readonly leaveAfter: number | undefined;
}

function plans(random: Random, count: number): Plan[] {
	return Array.from({ length: count }, () => ({
		path: random.chance(0.5) ? "/v1/chat/completions" : "/v1/messages",
		stream: random.chance(0.6),
		outputTokens: random.integer(1, 40),
		fault: FAULTS[random.integer(0, FAULTS.length - 1)],
		leaveAfter: random.chance(0.2) ? random.integer(-1, 3) * 150 : undefined,
	}));
}

interface Seen {
	readonly plan: Plan;
	readonly status: number;
	readonly requestId: string | undefined;
	/** The answer came to its proper end. */
	readonly whole: boolean;
}

function play(bed: TestBed, plan: Plan, token: string, agent: Agent): Promise<Seen> {
	const headers = {
		"content-type": "application/json",
		authorization: `Bearer ${token}`,
		"x-mock-output-tokens": String(plan.outputTokens),
		...(plan.fault === undefined ? {} : { "x-mock-fault": plan.fault }),
	};
	const messages = [{ role: "user", content: "what is it that you count" }];
	return new Promise((resolve) => {
		const request = httpRequest(bed.gateway.dataUrl + plan.path, { method: "POST", headers, agent }, (response) => {
			const requestId = response.headers["x-request-id"] as string | undefined;
			let text = "";
			response.on("data", (chunk: Buffer) => {
				text += chunk.toString();
				if (plan.leaveAfter !== undefined && text.length > plan.leaveAfter) request.destroy();
			});
			response.on("error", () => {});
			response.on("close", () => {
				const ended = !plan.stream || text.includes("[DONE]") || text.includes("event: message_stop");
				resolve({ plan, status: response.statusCode!, requestId, whole: response.complete && ended });
			});
		});
		request.on("error", () => resolve({ plan, status: 0, requestId: undefined, whole: false }));
		if (plan.leaveAfter !== undefined && plan.leaveAfter < 0) setImmediate(() => request.destroy());
		request.end(JSON.stringify({ model: "mock", max_tokens: 50, stream: plan.stream, messages }));
	});
}

async function newToken({ gateway }: TestBed): Promise<string> {
	const { accounts, tokens } = gateway.stores;
	await accounts.create({ id: "acme", email: "a@b.c", name: "Acme", accountType: "external" }, "test");
	const terms = { accountId: "acme", node: "account:acme", quotaType: "hard", limitValue: 1e9 } as const;
	await gateway.stores.quotas.create({ ...terms, id: "tokens", limitDimension: "tokens_per_day" }, "test");
	await gateway.stores.quotas.create({ ...terms, id: "requests", limitDimension: "requests_per_day" }, "test");
	await gateway.plane.quotas!.reload();
	const token = await tokens.create({ accountId: "acme", priorityTier: "external" }, "test");
	if (!token.ok) throw new Error(token.message);
	return token.value.token;
}

async function allRows({ gateway }: TestBed): Promise<readonly LedgerRow[]> {
	await gateway.plane.journal.flushed();
	await until("the ledger has caught up", () => gateway.plane.journal.status().unsentRecords === 0);
	expect(gateway.plane.journal.status().openRecords).toBe(0);
	return (await gateway.stores.ledger.list({}, { limit: 1000 })).items;
}

test(`150 requests, faults and aborts among them (seed ${SEED}): one row each, tokens as the engine counted`, async () => {
	const bed = await openTestBed(`${OPEN}[capacity]\nmax_concurrent = 6\n`, { seed: SEED });
	const agent = new Agent({ keepAlive: true });
	try {
		const token = await newToken(bed);
		const seen: Seen[] = [];
		// Waves, so that a breaker that faults in a row have opened does not refuse all the rest.
		for (let wave = 0; wave < 3; wave++) {
			await until("the endpoint is well", () => bed.gateway.plane.engine.core.pools[0]!.isUp);
			const wanted = plans(new Random(SEED * 100 + wave), 50);
			seen.push(...(await Promise.all(wanted.map((plan) => play(bed, plan, token, agent)))));
		}
		await until("all is given back", () => atRest(bed));
		await until("the engine is idle", () => bed.mock.ledger().totals.running === 0);

		const rows = await allRows(bed);
		const rowOf = new Map(rows.map((row) => [row.requestId, row]));
		expect(rowOf.size).toBe(rows.length);
		const total = rows.reduce((sum, row) => sum + row.promptTokens + row.completionTokens, 0);
		const counters = bed.gateway.plane
			.quotas!.views()
			.map(({ quota, state }) => [quota.id, state.used, state.reserved]);
		expect(counters).toEqual([
			["tokens", total, 0],
			["requests", rows.length, 0],
		]);
		const reached = bed.mock.ledger().requests;
		for (const { request_id } of reached) expect(rowOf.has(request_id), `${request_id} has no row`).toBe(true);
		const atEngine = new Set(reached.map((entry) => entry.request_id));
		for (const row of rows) {
			if (!atEngine.has(row.requestId)) expect(row).toMatchObject({ promptTokens: 0, completionTokens: 0 });
			expect(row).toMatchObject({ accountId: "acme", routedBy: "token" });
			expect(row.outcome).not.toBe("unknown");
		}

		let compared = 0;
		for (const { plan, status, requestId, whole } of seen) {
			// Who got an answer is on record, if it came from the engine at all.
			if (status !== 200) continue;
			const row = rowOf.get(requestId!);
			expect(row, `${requestId} ${JSON.stringify(plan)} has no row`).toBeDefined();
			if (!whole || plan.fault === "garbage" || plan.fault === "cut:after=3") continue;
			expect(row!.outcome).toBe("completed");
			const counted = bed.mock.ledger(requestId).requests.at(-1)!;
			if (plan.fault === "no-usage") {
				expect(row!.usageSource).toBe("estimated");
				// Events stand for tokens then; the closing event of the OpenAI form may count as one.
				const excess = row!.completionTokens - counted.completion_tokens;
				if (plan.stream) expect([0, 1]).toContain(excess);
				continue;
			}
			expect(row).toMatchObject({
				usageSource: "measured",
				promptTokens: counted.prompt_tokens,
				completionTokens: counted.completion_tokens,
			});
			compared++;
		}
		expect(compared).toBeGreaterThan(30);
		const outcomes = new Set(rows.map((row) => row.outcome));
		expect([...outcomes].sort()).toEqual(expect.arrayContaining(["client_closed", "completed", "upstream_error"]));
	} finally {
		agent.destroy();
		await bed.close();
	}
});
