import { expect, test } from "vitest";
import { manualTimers } from "../../test/chaos/faulty-disk.ts";
import type { AuditEvent } from "../ports/audit-log.ts";
import { HeaderAudit } from "./header-audit.ts";

function subject() {
	const events: AuditEvent[] = [];
	const errors: unknown[] = [];
	const timers = manualTimers();
	const log = { works: true };
	const audit = new HeaderAudit({
		timers,
		onError: (error) => errors.push(error),
		record: async (event) => {
			if (!log.works) throw new Error("locked");
			events.push(event);
		},
	});
	return { audit, events, errors, timers, log };
}

test("one entry per peer and minute, whatever the traffic", async () => {
	const { audit, events, timers } = subject();
	for (let n = 0; n < 500; n++) audit.routed("10.0.0.1", { source: "internal", environment: "production" });
	audit.routed("10.0.0.1", { source: "spot", priority: 4 });
	audit.refused("203.0.113.9");
	timers.advance(59_000);
	expect(events).toEqual([]);
	timers.advance(1000);
	await audit.flush();
	expect(events).toEqual([
		{
			actor: "system",
			action: "header_routing.summary",
			subject: "10.0.0.1",
			after: {
				requests: 501,
				refused: 0,
				routes: { "source=internal environment=production": 500, "source=spot priority=4": 1 },
			},
		},
		{
			actor: "system",
			action: "header_routing.summary",
			subject: "203.0.113.9",
			after: { requests: 0, refused: 1, routes: {} },
		},
	]);
	timers.advance(120_000);
	expect(events).toHaveLength(2);
	expect(timers.waiting).toBe(0);
});

test("a log that takes nothing costs no count", async () => {
	const { audit, events, errors, timers, log } = subject();
	audit.routed("10.0.0.1", { source: "internal" });
	log.works = false;
	timers.advance(60_000);
	await audit.flush();
	expect(errors.length).toBeGreaterThan(0);
	log.works = true;
	audit.routed("10.0.0.1", { source: "internal" });
	await audit.flush();
	expect(events).toMatchObject([{ after: { requests: 2, routes: { "source=internal": 2 } } }]);
});

test("peers and routes are bounded", async () => {
	const { audit, events } = subject();
	for (let n = 0; n < 3000; n++) audit.refused(`10.0.${Math.floor(n / 256)}.${n % 256}`);
	for (let n = 0; n < 300; n++) audit.routed("10.0.0.0", { environment: `e${n}` });
	await audit.flush();
	expect(events).toHaveLength(1001);
	expect(events.at(-1)).toMatchObject({ subject: "others", after: { refused: 2000 } });
	const { routes } = events[0]!.after as { routes: Record<string, number> };
	expect(Object.keys(routes)).toHaveLength(51);
	expect(routes["others"]).toBe(250);
});
