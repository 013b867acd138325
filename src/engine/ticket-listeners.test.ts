import { expect, test } from "vitest";
import { ROW_LIMIT } from "../core/schedule/decision.ts";
import { TicketListeners } from "./ticket-listeners.ts";

test("a row used again before the last word on its request was delivered keeps both listeners", () => {
	const listeners = new TicketListeners<string>();
	const [older, newer] = [3, ROW_LIMIT + 3];
	listeners.set(older, "older");
	listeners.set(newer, "newer");
	expect([listeners.get(older), listeners.get(newer), listeners.size]).toEqual(["older", "newer", 2]);
	listeners.delete(newer);
	listeners.delete(newer);
	expect([listeners.get(older), listeners.get(newer), listeners.size]).toEqual(["older", undefined, 1]);
	listeners.delete(older);
	listeners.delete(older);
	expect([listeners.get(older), listeners.size]).toEqual([undefined, 0]);
	listeners.set(older, "again");
	expect([listeners.get(older), listeners.size]).toEqual(["again", 1]);
});
