import { expect, test } from "vitest";
import { compile } from "./compile.ts";
import { loadConfig } from "./load.ts";

function compiled(ini: string) {
	const loaded = loadConfig({ text: ini, flags: { upstream: "http://127.0.0.1:9" } });
	if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join("\n"));
	return compile(loaded.config, []);
}

const BUCKETS = "allocator = bucket\n[allocator.bucket]\nbucket_count = 4\nbase_capacity_rps = 10\n";

test("with queueing off nothing is bounded, buckets' ceilings included", () => {
	const off = compiled(`[request_scheduler]\nenabled = false\n${BUCKETS}`).core;
	expect(off.queues.every(({ limitRps, limitTps }) => limitRps === undefined && limitTps === undefined)).toBe(true);
	expect(off.pools[0]!.capacity).toMatchObject({
		maxConcurrent: Number.POSITIVE_INFINITY,
		maxRps: Number.POSITIVE_INFINITY,
	});
	const on = compiled(`[request_scheduler]\n${BUCKETS}`).core;
	expect(on.queues.some(({ limitRps }) => limitRps !== undefined)).toBe(true);
	expect(on.pools[0]!.capacity.maxRps).toBe(10);
});
