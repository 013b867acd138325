/** The capacity guard through the whole gateway: who is refused or held, in whose words, and what operators see of it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { CapacityGuard } from "../../src/core/capacity/capacity-guard.ts";
import { CapacityHold, type HeldRequest } from "../../src/http/capacity-hold.ts";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

/** One internal request is more than the engine is said to do in seconds. */
const GUARDED = `${OPEN}[classifier.header]
enabled = true
trusted_cidrs = 127.0.0.1/32
require_token = false
[capacity_guard]
enabled = true
max_tps = 1
buffer_pct = 0
`;

async function open(ini: string): Promise<TestBed> {
	const bed = await openTestBed(ini);
	onTestFinished(() => bed.close());
	return bed;
}

function ask(bed: TestBed, source: string, path = "/v1/chat/completions", signal?: AbortSignal): Promise<Response> {
	return fetch(bed.gateway.dataUrl + path, {
		method: "POST",
		headers: { "content-type": "application/json", "x-tgw-source": source, "x-mock-output-tokens": "40" },
		body: JSON.stringify({ model: "mock", max_tokens: 40, messages: [{ role: "user", content: "hello there" }] }),
		...(signal === undefined ? {} : { signal }),
	});
}

async function capacityStatus(bed: TestBed): Promise<Record<string, unknown>> {
	const token = readFileSync(join(bed.folder, "admin-token"), "utf8").trim();
	const headers = { authorization: `Bearer ${token}` };
	return (await fetch(`${bed.gateway.adminUrl}/v1/admin/capacity/status`, { headers })).json() as never;
}

const codeOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code;

test("external tiers are refused while internal work uses its share, internal ones never", async () => {
	const bed = await open(GUARDED);
	expect((await ask(bed, "premium")).status).toBe(200);
	expect((await ask(bed, "internal")).status).toBe(200);
	for (const tier of ["external", "premium", "spot"]) {
		const refused = await ask(bed, tier);
		expect(refused.status).toBe(503);
		const wait = Number(refused.headers.get("retry-after"));
		expect(wait).toBeGreaterThanOrEqual(1);
		expect(wait).toBeLessThanOrEqual(60);
		expect(await codeOf(refused)).toBe("capacity_guard");
	}
	expect((await ask(bed, "external", "/v1/messages")).status).toBe(529);
	expect((await ask(bed, "internal")).status).toBe(200);
	const status = await capacityStatus(bed);
	expect(status).toMatchObject({ max_tps: 1, buffer_tps: 0, external_allowed: false, active_time_window: null });
	expect(status.internal_usage_pct).toBeGreaterThan(90);
	expect(status.guard).toMatchObject({ enabled: true, internal_limit_pct: 90, rejected_total: 4, held: 0 });
	expect((status.guard as { opens_in_sec: number }).opens_in_sec).toBeGreaterThan(0);
	expect(status.providers).toMatchObject([{ pool: "default", max_concurrent: 64, endpoints_up: 1, degraded: false }]);
	const metrics = await (await fetch(`${bed.gateway.adminUrl}/metrics`)).text();
	expect(metrics).toContain("tgw_external_rejected_total 4");
	expect(metrics).toContain("tgw_external_allowed 0");
	expect(metrics).toContain("tgw_capacity_max_tps 1");
	expect(metrics).toMatch(/tgw_capacity_internal_tps [1-9]/);
	expect(atRest(bed)).toBe(true);
});

test("with action = queue they wait, for as long as their queue allows, and may leave", async () => {
	const bed = await open(`${GUARDED}action = queue\n`);
	expect((await ask(bed, "internal")).status).toBe(200);
	const leaving = new AbortController();
	const gone = ask(bed, "spot", undefined, leaving.signal).catch(() => "left");
	await until("it is held", () => bed.gateway.plane.hold!.size === 1);
	expect(bed.gateway.plane.engine.core.waitingCount).toBe(0);
	leaving.abort();
	expect(await gone).toBe("left");
	await until("all is given back", () => bed.gateway.plane.hold!.size === 0 && atRest(bed));
});

test("what is held goes on in the order of arrival when the guard opens, or ends at its time-out", async () => {
	const guard = new CapacityGuard({
		enabled: true,
		maxTps: 1,
		internalLimit: 0.9,
		resume: 0.85,
		buffer: 0,
		bufferFor: [],
		externalTiers: ["external"],
		action: "queue",
	});
	guard.used(false, 1000, performance.now());
	const hold = new CapacityHold(guard);
	const told: string[] = [];
	const request = (name: string): HeldRequest => ({
		release: () => told.push(`${name} goes`),
		ended: (reason) => told.push(`${name} ${reason}`),
	});
	const leaves = request("leaves");
	hold.add(request("first"), "external", 3, 60_000, 3);
	hold.add(leaves, "external", 3, 60_000, 3);
	hold.add(request("late"), "external", 3, 1, 3);
	hold.add(request("fourth"), "external", 3, 60_000, 3);
	hold.add(request("other queue"), "external", 4, 60_000, 3);
	expect(hold.remove(leaves)).toBe(true);
	await until("the time-out", () => told.length === 2);
	guard.configure({ enabled: false });
	await until("all go", () => hold.size === 0);
	expect(told).toEqual(["fourth queue_full", "late queue_timeout", "first goes", "other queue goes"]);
});
