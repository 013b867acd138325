import { expect, test } from "vitest";
import { RecentDecisions } from "./recent-decisions.ts";

function add(recent: RecentDecisions, requestId: string): void {
	recent.add({ at: 0, requestId, event: "wait", reason: undefined, waitMs: 0 });
}

test("keeps the newest, in order, numbered from 1", () => {
	const recent = new RecentDecisions(3);
	expect([...recent.after(0)]).toEqual([]);
	for (const id of ["a", "b", "a", "c"]) add(recent, id);
	expect([...recent.after(0)].map(({ sequence, requestId }) => `${sequence}${requestId}`)).toEqual(["2b", "3a", "4c"]);
	expect([...recent.after(3)].map(({ sequence }) => sequence)).toEqual([4]);
	expect([...recent.after(9)]).toEqual([]);
	expect(recent.of("a").map(({ sequence }) => sequence)).toEqual([3]);
	expect(recent.latest).toBe(4);
	expect([...recent.after(3)]).toEqual([{ sequence: 4, at: 0, requestId: "c", event: "wait", waitMs: 0 }]);
	expect(Object.keys([...recent.after(3)][0]!)).not.toContain("reason");
});

test("wakes whoever waits, once, at the next event or when it gives up", async () => {
	const recent = new RecentDecisions(3);
	const next = recent.next(() => {});
	add(recent, "a");
	await next;
	let giveUp = () => {};
	const other = recent.next((call) => {
		giveUp = call;
	});
	giveUp();
	await other;
	const last = recent.next(() => {});
	recent.close();
	await last;
});
