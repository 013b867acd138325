/**
 * Cores with a fault planted from outside, by replacing a method or a scheduler. Each names the claim that must catch it.
 */
import { Endpoint } from "../../src/core/capacity/endpoint.ts";
import { RateBucket } from "../../src/core/capacity/rate-bucket.ts";
import { RateLimit } from "../../src/core/capacity/rate-limit.ts";
import { Admission } from "../../src/core/schedule/admission.ts";
import { AtLeastBuckets } from "../../src/core/schedule/at-least.ts";
import type { CoreSettings } from "../../src/core/schedule/core-settings.ts";
import { DeficitRoundRobin } from "../../src/core/schedule/deficit-round-robin.ts";
import { FlowTree } from "../../src/core/schedule/flow-tree.ts";
import { Pool } from "../../src/core/schedule/pool.ts";
import { createScheduler, type QueueView, type Scheduler } from "../../src/core/schedule/scheduler.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { StrictPriority } from "../../src/core/schedule/strict-priority.ts";
import { TimingWheel } from "../../src/core/schedule/timing-wheel.ts";
import { Upgrades } from "../../src/core/schedule/upgrades.ts";
import type { MakeCore } from "./claim.ts";

export interface Fault {
	readonly name: string;
	readonly caughtBy: string;
	/** Plants it for the time of `run`. */
	plant<T>(run: (makeCore: MakeCore) => T): T;
}

// biome-ignore lint/suspicious/noExplicitAny: methods of any class are replaced by any others
type Method = (this: any, ...given: any[]) => any;

/** Replaces one method while the claim is measured. */
function replaced(
	name: string,
	caughtBy: string,
	type: { readonly prototype: object },
	method: string,
	by: (original: Method) => Method,
): Fault {
	return {
		name,
		caughtBy,
		plant(run) {
			const prototype = type.prototype as Record<string, Method>;
			const original = prototype[method];
			if (original === undefined) throw new Error(`${type} has no ${method} to replace`);
			prototype[method] = by(original);
			try {
				return run((settings) => new SchedulingCore(settings));
			} finally {
				prototype[method] = original;
			}
		},
	};
}

/** Changes what flows are charged or given back after their dispatch, as it comes and at the end. */
function trueUp(name: string, caughtBy: string, change: (delta: number) => number): Fault {
	const by = (original: Method): Method =>
		function (leaf, delta, weight) {
			original.call(this, leaf, change(delta), weight);
		};
	const running = replaced(name, caughtBy, FlowTree, "adjust", by);
	const ended = replaced(name, caughtBy, FlowTree, "release", by);
	return { name, caughtBy, plant: (run) => running.plant(() => ended.plant(run)) };
}

/** Puts another scheduler into every pool. */
function scheduled(name: string, caughtBy: string, make: (view: Pool, settings: CoreSettings) => Scheduler): Fault {
	return {
		name,
		caughtBy,
		plant: (run) =>
			run((settings) => {
				const core = new SchedulingCore(settings);
				for (const pool of core.pools) (pool as { scheduler: Scheduler }).scheduler = make(pool, settings);
				return core;
			}),
	};
}

function best(view: QueueView, score: (queue: number) => number): number {
	let found = -1;
	for (let queue = view.active.next(0); queue >= 0; queue = view.active.next(queue + 1)) {
		if (view.ready(queue) && (found < 0 || score(queue) < score(found))) found = queue;
	}
	return found;
}

/** Start-time fair queuing with its parts exchangeable. */
function fair(
	view: Pool,
	change: { weight?: (queue: number) => number; start?: boolean; size?: (amount: number) => number; trueUp?: boolean },
): Scheduler {
	const finish = new Float64Array(view.count);
	let virtual = 0;
	const startOf = (queue: number) => (change.start === false ? finish[queue]! : Math.max(finish[queue]!, virtual));
	return {
		ignoresOrder: true,
		pick: () => best(view, startOf),
		charge(queue, amount, atDispatch) {
			if (!atDispatch && change.trueUp === false) return;
			const start = atDispatch ? startOf(queue) : finish[queue]!;
			if (atDispatch) virtual = Math.max(virtual, start);
			finish[queue] = start + (change.size?.(amount) ?? amount) / (change.weight?.(queue) ?? view.weights[queue]!);
		},
	};
}

/** `atleast` over buckets that sees its queues otherwise than they are. */
function upgrading(name: string, seen: Partial<QueueView>): Fault {
	return scheduled(name, "S10", (view, settings) => {
		const changed = new Proxy(view, {
			get(target, key) {
				const value: unknown = Reflect.get(seen, key) ?? Reflect.get(target, key, target);
				return typeof value === "function" ? value.bind(target) : value;
			},
		});
		return settings.scheduler === "atleast"
			? new AtLeastBuckets(changed, settings.upgrades)
			: createScheduler(settings.scheduler, view, settings);
	});
}

const oneFlow = (original: Method): Method =>
	function (root) {
		return original.call(this, root, { ids: ["all"] });
	};

/** First come first served, as each of the claims about clients must see it. */
const firstCome = (caughtBy: string) =>
	replaced(`first come, first served (${caughtBy})`, caughtBy, FlowTree, "leaf", oneFlow);

let calls = 0;
let lastWindow = -1;

export const FAULTS: readonly Fault[] = [
	trueUp("no true-up inside a queue", "S9b", () => 0),
	trueUp("debt forgotten: only refunds are trued up", "S9b", (delta) => Math.min(0, delta)),
	trueUp("credit kept: charged debts, no refunds", "S9a", (delta) => Math.max(0, delta)),
	replaced(
		"weights of flows ignored",
		"S9a",
		FlowTree,
		"dispatch",
		(original) =>
			function (leaf, request, cost) {
				original.call(this, leaf, request, cost, 1);
			},
	),
	replaced(
		"requests counted instead of their cost inside a queue",
		"S9a",
		FlowTree,
		"dispatch",
		(original) =>
			function (leaf, request, _cost, weight) {
				original.call(this, leaf, request, 1, weight);
			},
	),
	replaced("one flow for everybody", "S6", FlowTree, "leaf", oneFlow),
	firstCome("S3"),
	firstCome("S5a"),
	firstCome("S5b"),
	firstCome("S5c"),
	firstCome("S6b"),
	replaced(
		"last in, first out inside a flow",
		"histories",
		FlowTree,
		"enqueue",
		() =>
			function (leaf, request) {
				this.enqueueFirst(leaf, request);
			},
	),
	replaced(
		"taken back to the tail of its flow",
		"histories",
		FlowTree,
		"enqueueFirst",
		() =>
			function (leaf, request) {
				this.enqueue(leaf, request);
			},
	),
	replaced("flows never released", "histories", FlowTree, "release", () => () => {}),
	scheduled("worst queue first", "S1", (view) => ({
		ignoresOrder: false,
		pick: () => best(view, (queue) => -queue),
		charge() {},
	})),
	scheduled("smallest request first", "S12", (view) => ({
		ignoresOrder: false,
		pick: () => best(view, (queue) => view.headCost(queue)),
		charge() {},
	})),
	scheduled("no hold: what does not fit is passed over", "S12", (view) => ({
		ignoresOrder: false,
		pick: () =>
			best(view, (queue) =>
				view.endpoints.some((endpoint) => endpoint.fitsPrivileged(1, view.headCost(queue))) ? queue : queue + 1000,
			),
		charge() {},
	})),
	scheduled("weights of queues ignored", "S3b", (view) => fair(view, { weight: () => 1 })),
	scheduled("what a queue overdrew follows it over an idle time", "S3", (view) => fair(view, {})),
	scheduled("now and then nobody is served although requests wait", "S0", (view) => ({
		ignoresOrder: false,
		pick: () => (++calls % 3 === 0 ? -1 : best(view, (queue) => queue)),
		charge() {},
	})),
	scheduled("old service counts for one that was away", "S9c", (view) => fair(view, { start: false })),
	scheduled("unequal requests counted alike", "E4b", (view) => fair(view, { size: () => 1 })),
	scheduled("service counted since the beginning", "E4", (view) => fair(view, { start: false })),
	scheduled("requests counted instead of their cost", "S3b", (view) => fair(view, { size: () => 1 })),
	scheduled("no true-up between queues", "S9a", (view) => fair(view, { size: (amount) => amount, trueUp: false })),
	scheduled("always the best queue instead of shares", "S3b", (view) => new StrictPriority(view)),
	replaced("deficits never spent", "S4", DeficitRoundRobin, "charge", () => () => {}),
	replaced(
		"a newcomer is refused whoever fills the queue",
		"S11",
		Admission,
		"overflow",
		(original) =>
			function (row) {
				return original.call(this, row) >= 0 ? row : -1;
			},
	),
	replaced(
		"no headroom",
		"S13",
		Endpoint,
		"configure",
		(original) =>
			function (sequences, tokens) {
				original.call(this, sequences, tokens, 0);
			},
	),
	replaced("a full queue takes more", "S2", Admission, "overflow", () => () => -1),
	replaced(
		"limits start anew with each window of ten seconds",
		"S7",
		RateLimit,
		"take",
		(original) =>
			function (amount, now) {
				const window = Math.floor(now / 10_000);
				if (window !== lastWindow) this.giveBack(Number.MAX_VALUE, now);
				lastWindow = window;
				return original.call(this, amount, now);
			},
	),
	upgrading("capacity lent although its own requests wait", { waiting: () => 0 }),
	upgrading("upgrade places not counted", { upgradedIn: () => 0 }),
	upgrading("requests upgraded that must keep to their bucket", { headMayUpgrade: () => true }),
	upgrading("buckets lend what they do not have", { hasRate: () => true }),
	replaced("upgraded requests stay when the lender needs its capacity", "S10", Upgrades, "takeOldest", () => () => -1),
	replaced("batch prompts not held back by the window", "E3", Endpoint, "windowOpen", () => () => true),
	replaced(
		"slots for the protected not kept free",
		"E1",
		Endpoint,
		"configure",
		(original) =>
			function (sequences, tokens) {
				original.call(this, sequences, tokens, 0);
			},
	),
	scheduled("room given to fair queues only now and then", "E5", (view, settings) => {
		const fair = createScheduler(settings.scheduler, view, settings);
		return {
			ignoresOrder: true,
			pick: () => (++calls % 3 === 0 ? -1 : fair.pick()),
			charge: (queue, amount, atDispatch) => fair.charge(queue, amount, atDispatch),
		};
	}),
	replaced("headroom never used ahead of turn", "S13", Endpoint, "fitsAhead", () => () => false),
	replaced("space not looked at", "histories", Endpoint, "fitsPrivileged", () => () => true),
	replaced("space counts estimates only", "histories", Pool, "produced", () => () => {}),
	replaced(
		"a slot leaked now and then",
		"histories",
		Pool,
		"settle",
		(original) =>
			function (this: Pool, ...given) {
				original.apply(this, given);
				if (++calls % 50 === 0) this.endpoints[0]!.sequences++;
			},
	),
	replaced(
		"room that frees goes unnoticed now and then",
		"histories",
		Pool,
		"dispatchAll",
		(original) =>
			function (now) {
				if (++calls % 20 !== 0) original.call(this, now);
			},
	),
	replaced(
		"deadlines seen 200 ms late",
		"histories",
		TimingWheel,
		"expire",
		(original) =>
			function (now) {
				return original.call(this, now - 200);
			},
	),
	replaced("rates never charged", "rate", RateBucket, "debit", () => () => {}),
	replaced("upgrades never given back", "histories", Upgrades, "remove", () => () => {}),
	replaced("a pause changes nothing", "histories", SchedulingCore, "pause", () => () => {}),
	replaced("an endpoint that is down is used", "histories", SchedulingCore, "endpointDown", () => () => {}),
];
