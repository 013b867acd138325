/**
 * How good the estimate of a request's start is, on the published runs of VTC with the engine they were measured on: asked of every
 * request as it comes, compared with what it then waited.
 */
import { expect, test } from "vitest";
import type { Decision, Ticket } from "../../src/core/schedule/decision.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import type { StartEstimate } from "../../src/core/schedule/start-estimate.ts";
import { type SubmitRequest, submitRequest } from "../../src/core/schedule/submit-request.ts";
import { PLAIN_CAPACITY, settingsOf } from "../properties/core-fixtures.ts";
import { EVERY_RUN } from "./claim.ts";
import { play } from "./claims-vtc.ts";
import { quantile } from "./queueing.ts";
import { publishedRun } from "./traces.ts";

interface Asked {
	readonly flow: string;
	readonly estimate: StartEstimate;
	waitMs: number;
}

/** Asks before each submission. */
class AskingCore extends SchedulingCore {
	readonly asked = new Map<Ticket, Asked>();
	readonly started: Asked[] = [];

	override submit(request: SubmitRequest, now: number): Ticket {
		this.advance(now);
		const estimate = this.estimateStart(request);
		const ticket = super.submit(request, now);
		this.asked.set(ticket, { flow: request.flow.ids[0]!, estimate, waitMs: Number.NaN });
		return ticket;
	}

	override next(): Decision | undefined {
		const decision = super.next();
		if (decision?.kind === "dispatch") {
			const asked = this.asked.get(decision.ticket)!;
			asked.waitMs = decision.waitMs;
			this.started.push(asked);
		}
		return decision;
	}
}

function ask(run: "overload" | "proportional" | "poisson_short_long"): Asked[] {
	let core: AskingCore | undefined;
	play(publishedRun(run, EVERY_RUN), "known", (settings) => {
		core = new AskingCore(settings);
		return core;
	});
	// The first have no recent rate to go by.
	return core!.started.slice(50).filter(({ waitMs }) => waitMs > 1000);
}

test.each(["overload", "proportional", "poisson_short_long"] as const)(
	"%s: typically within a factor of two, most by the P90",
	(run) => {
		const asked = ask(run);
		const part = (of: (one: Asked) => boolean) => asked.filter(of).length / asked.length;
		const off = asked.map(({ estimate, waitMs }) => Math.abs(Math.log(Math.max(1, estimate.p50Ms) / waitMs)));
		expect(asked.length).toBeGreaterThan(100);
		expect(part(({ estimate, waitMs }) => waitMs <= estimate.p90Ms)).toBeGreaterThan(0.6);
		expect(part(({ estimate, waitMs }) => waitMs <= estimate.p50Ms)).toBeGreaterThan(0.2);
		expect(part(({ estimate, waitMs }) => waitMs <= estimate.p50Ms)).toBeLessThan(0.85);
		expect(Math.exp(quantile(off, 0.5))).toBeLessThan(2);
	},
);

test("a mouse is not told to wait for the elephant, and who cannot start in time is told at once", () => {
	const core = new SchedulingCore(
		settingsOf(
			{ allocator: "priority", scheduler: "strict" },
			{ pools: [{ name: "main", endpoints: 1, capacity: { ...PLAIN_CAPACITY, maxConcurrent: 1 } }] },
		),
	);
	const request = (flow: string, queue: number, startWithinMs = Number.POSITIVE_INFINITY) =>
		submitRequest({ flow: flowPath([flow]), queue, promptTokens: 50, completionTokens: 50, startWithinMs });
	const drain = () => {
		const seen: Decision[] = [];
		for (let decision = core.next(); decision !== undefined; decision = core.next()) seen.push({ ...decision });
		return seen;
	};
	let now = 0;
	expect(core.estimateStart(request("mouse", 3))).toEqual({ p50Ms: 0, p90Ms: 0 });
	for (let i = 0; i < 100; i++) core.submit(request("elephant", 3), now);
	let running = drain().find(({ kind }) => kind === "dispatch")!.ticket;
	for (let i = 0; i < 50; i++) {
		now += 100;
		core.finish(running, { promptTokens: 50, completionTokens: 50, cachedTokens: 0 }, now);
		running = drain().find(({ kind }) => kind === "dispatch")!.ticket;
	}
	// 49 wait, each takes 100 ms.
	const mouse = core.estimateStart(request("mouse", 3)).p50Ms;
	const elephant = core.estimateStart(request("elephant", 3)).p50Ms;
	expect(mouse).toBeLessThan(500);
	expect(elephant).toBeGreaterThan(2500);
	expect(elephant).toBeLessThan(10_000);
	// A better queue waits for neither, a worse one for both.
	expect(core.estimateStart(request("other", 0)).p50Ms).toBeLessThanOrEqual(mouse);
	expect(core.estimateStart(request("other", 4)).p50Ms).toBeGreaterThan(elephant * 0.9);
	core.submit(request("elephant", 3, 1000), now);
	expect(drain().at(-1)).toMatchObject({ kind: "shed", reason: "deadline_unmeetable" });
	core.submit(request("mouse", 3, 1000), now);
	expect(drain().at(-1)).toMatchObject({ kind: "wait" });
});
