/**
 * The core under `strict` against a reference made of plain lists: same histories, same dispatches in the same order. The reference
 * searches and sorts where the core keeps heaps; it knows one pool of slots, flows of one step and final usage.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { costOf, DEFAULT_COST_WEIGHTS } from "../../src/core/model/units.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { settingsOf } from "./core-fixtures.ts";

const SLOTS = 4;

interface Flow {
	readonly name: string;
	waiting: Item[];
	running: number;
	finish: number;
	tag: number;
	floor: number;
	order: number;
}

interface Item {
	readonly id: number;
	readonly queue: number;
	readonly flow: Flow;
	readonly cost: number;
	readonly weight: number;
}

class Reference {
	readonly started: number[] = [];
	readonly running: Item[] = [];
	readonly #queues = Array.from({ length: 5 }, () => ({ flows: new Map<string, Flow>(), virtual: 0, largest: 0 }));
	#order = 0;

	submit(id: number, queue: number, name: string, cost: number, weight: number): void {
		const { flows, virtual } = this.#queues[queue]!;
		const flow = flows.get(name) ?? { name, waiting: [], running: 0, finish: 0, tag: 0, floor: 0, order: 0 };
		flows.set(name, flow);
		if (flow.waiting.length === 0) {
			flow.tag = Math.max(flow.finish, virtual);
			flow.floor = flow.tag;
			flow.order = ++this.#order;
		}
		flow.waiting.push({ id, queue, flow, cost, weight });
		this.#dispatch();
	}

	finish(item: Item, cost: number): void {
		const { flow, weight } = item;
		const queue = this.#queues[item.queue]!;
		this.running.splice(this.running.indexOf(item), 1);
		flow.finish += (cost - item.cost) / weight;
		queue.largest = Math.max(queue.largest, flow.finish);
		if (flow.waiting.length > 0) flow.tag = Math.max(flow.finish, flow.floor);
		flow.running--;
		this.#settle(item.queue);
		this.#dispatch();
	}

	cancel(id: number): void {
		for (const [index, queue] of this.#queues.entries()) {
			for (const flow of queue.flows.values()) flow.waiting = flow.waiting.filter((item) => item.id !== id);
			this.#settle(index);
		}
		this.#dispatch();
	}

	/** An idle queue starts anew: nobody is ahead or behind. */
	#settle(index: number): void {
		const queue = this.#queues[index]!;
		const flows = [...queue.flows.values()];
		if (flows.some((flow) => flow.waiting.length > 0 || flow.running > 0)) return;
		queue.virtual = Math.max(queue.virtual, queue.largest);
	}

	#dispatch(): void {
		while (this.running.length < SLOTS) {
			const queue = this.#queues.find(({ flows }) => [...flows.values()].some((flow) => flow.waiting.length > 0));
			if (queue === undefined) return;
			const [flow] = [...queue.flows.values()]
				.filter((candidate) => candidate.waiting.length > 0)
				.sort((a, b) => a.tag - b.tag || a.order - b.order);
			const item = flow!.waiting.shift()!;
			queue.virtual = Math.max(queue.virtual, flow!.tag);
			flow!.finish = flow!.tag + item.cost / item.weight;
			queue.largest = Math.max(queue.largest, flow!.finish);
			flow!.running++;
			if (flow!.waiting.length > 0) {
				flow!.tag = flow!.finish;
				flow!.order = ++this.#order;
			}
			this.running.push(item);
			this.started.push(item.id);
		}
	}
}

const step = fc.record({
	kind: fc.constantFrom("submit", "submit", "submit", "finish", "finish", "cancel"),
	queue: fc.nat(4),
	flow: fc.nat(5),
	prompt: fc.integer({ min: 1, max: 500 }),
	completion: fc.nat(300),
	pick: fc.nat(100),
});

test("the core starts what the reference starts, in the same order", () => {
	fc.assert(
		fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
			const core = new SchedulingCore(settingsOf({ allocator: "priority", scheduler: "strict" }));
			const reference = new Reference();
			const idOf = new Map<number, number>();
			const ticketOf = new Map<number, number>();
			const started: number[] = [];
			for (const [id, { kind, queue, flow, prompt, completion, pick }] of steps.entries()) {
				if (kind === "submit") {
					const weight = 1 + (flow % 3);
					const request = submitRequest({
						queue,
						flow: flowPath([`f${flow}`]),
						promptTokens: prompt,
						completionTokens: completion,
						weight,
					});
					const ticket = core.submit(request, id);
					idOf.set(ticket, id);
					ticketOf.set(id, ticket);
					reference.submit(id, queue, `f${flow}`, costOf(DEFAULT_COST_WEIGHTS, prompt, completion), weight);
				} else if (kind === "finish" && reference.running.length > 0) {
					const item = reference.running[pick % reference.running.length]!;
					core.finish(
						ticketOf.get(item.id)!,
						{ promptTokens: prompt, completionTokens: completion, cachedTokens: 0 },
						id,
					);
					reference.finish(item, costOf(DEFAULT_COST_WEIGHTS, prompt, completion));
				} else if (kind === "cancel") {
					const waiting = [...ticketOf].filter(([, ticket]) => core.isWaiting(ticket));
					const chosen = waiting[pick % Math.max(1, waiting.length)];
					if (chosen === undefined) continue;
					ticketOf.delete(chosen[0]);
					core.cancel(chosen[1], id);
					reference.cancel(chosen[0]);
				}
				for (let decision = core.next(); decision !== undefined; decision = core.next()) {
					if (decision.kind === "dispatch") started.push(idOf.get(decision.ticket)!);
				}
				expect(started).toEqual(reference.started);
			}
		}),
		{ numRuns: Number(process.env["HISTORY_RUNS"] ?? 100) },
	);
});
