import { expect, test } from "vitest";
import { createPriorityAllocator } from "../allocate/priority-allocator.ts";
import { Estimator } from "../classify/estimator.ts";
import type { RoutingRule } from "../model/policy.ts";
import type { RequestFacts } from "../model/request-facts.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { keysOf } from "../schedule/flow-path.ts";
import { Lifecycle } from "./lifecycle.ts";

const ALLOCATOR = createPriorityAllocator({ levels: 5, defaultPriority: 4 });
const RULE: RoutingRule = { id: "r", name: "All", priorityOrder: 1, enabled: true, maxRps: 1 };
const WHO: RoutingMetadata = {
	tier: "internal",
	accountId: "a",
	routedBy: "token",
	token: { mayUseCritical: true, maxPriority: 0 },
};
const FACTS: RequestFacts = {
	operation: "chat",
	model: "m",
	stream: true,
	wantsStreamUsage: true,
	promptChars: 0,
	promptExtraTokens: 10,
	maxTokens: 10,
	sequences: 1,
	hasTools: false,
};

function lifecycle(rule: RoutingRule = RULE, queueTimeoutMs?: (pool: number, queue: number) => number): Lifecycle {
	return new Lifecycle({
		rules: [rule],
		allocator: ALLOCATOR,
		levelNames: ALLOCATOR.queues.map(({ name }) => name),
		pools: [{ name: "default", models: ["*"], maxContextLength: 1000, forceStream: false }],
		aliases: new Map(),
		flowPath: ["account"],
		estimator: new Estimator({ initialCompletion: 100 }),
		burstSeconds: 2,
		...(queueTimeoutMs === undefined ? {} : { queueTimeoutMs }),
	});
}

const context = (requestClass?: string) => ({
	hints: requestClass === undefined ? {} : { requestClass },
	bodyBytes: 0,
	startWithinMs: Number.POSITIVE_INFINITY,
	tokenInUse: 0,
});

test("foreseeing takes nothing from any limit, and sees what is spent", () => {
	const life = lifecycle({ ...RULE, maxTps: 20 });
	for (let i = 0; i < 50; i++) expect(life.foresee(WHO, FACTS, context("critical"), 0).kind).toBe("admitted");
	expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("admitted");
	expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("admitted");
	const third = life.foresee(WHO, FACTS, context(), 0);
	expect(third.kind === "refused" && third.refusal.code).toBe("rate_limited");
});

test("rules that stay keep what their limits have counted; a changed limit begins anew", () => {
	const life = lifecycle();
	for (let i = 0; i < 2; i++) expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("admitted");
	life.replaceRules([{ ...RULE, description: "new words" }], 0);
	expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("refused");
	life.replaceRules([{ ...RULE, maxRps: 2 }], 0);
	expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("admitted");
});

test("a queue's timeout is asked for each time; a rule's own wins", () => {
	let timeoutMs = 5;
	const timeoutOf = (rule: RoutingRule) => {
		const admitted = lifecycle(rule, () => timeoutMs).foresee(WHO, FACTS, context(), 0);
		return admitted.kind === "admitted" ? admitted.arrival.submit.timeoutMs : undefined;
	};
	expect(timeoutOf(RULE)).toBe(5);
	timeoutMs = 7;
	expect(timeoutOf(RULE)).toBe(7);
	expect(timeoutOf({ ...RULE, queueTimeoutMs: 9 })).toBe(9);
});

test("aliases, pools and allocator change for the next request", () => {
	const life = lifecycle({ ...RULE, maxRps: 100 });
	expect(life.poolsOf("x")).toEqual([0]);
	life.reconfigure(
		{
			aliases: new Map([["x", "y"]]),
			pools: [{ name: "default", models: ["y"], maxContextLength: 1000, forceStream: false }],
			allocator: createPriorityAllocator({ levels: 5, defaultPriority: 1 }),
		},
		0,
	);
	const admitted = life.admit(WHO, { ...FACTS, model: "x" }, context(), 0);
	expect(admitted.kind === "admitted" && [admitted.arrival.model, admitted.arrival.submit.queue]).toEqual(["y", 1]);
	expect(life.poolsOf("x")).toEqual([]);
});

test("a request larger than a rule's burst costs the burst, and pays what it used beyond it afterwards", () => {
	const life = lifecycle({ id: "r", name: "All", priorityOrder: 1, enabled: true, maxTps: 5 });
	const admitted = life.admit(WHO, FACTS, context(), 0);
	if (admitted.kind === "refused") throw new Error(admitted.refusal.message);
	const usage = { promptTokens: 10, completionTokens: 8, cachedTokens: 0, source: "measured" as const };
	life.settled(admitted.arrival, usage, 0);
	// 10 were taken, 18 used: 8 in debt, and the next one waits until the burst of 10 is whole again.
	const refused = life.admit(WHO, FACTS, context(), 0);
	expect(refused).toMatchObject({ kind: "refused", refusal: { code: "rate_limited", retryAfterMs: 3600 } });
	expect(life.admit(WHO, FACTS, context(), 3600).kind).toBe("admitted");
});

test("what a request gives back goes to the rule it took from, wherever that stands by then", () => {
	const taking: RoutingRule = { id: "r", name: "All", priorityOrder: 2, enabled: true, maxTps: 10 };
	const life = lifecycle(taking);
	const admitted = life.admit(WHO, FACTS, context(), 0);
	if (admitted.kind === "refused") throw new Error(admitted.refusal.message);
	// A rule that is put in front has now the place that this one had, and a limit of its own that is used up.
	const first: RoutingRule = { id: "q", name: "First", priorityOrder: 1, enabled: true, matchModel: "m", maxTps: 10 };
	life.replaceRules([first, taking], 0);
	expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("admitted");
	life.withdrawn(admitted.arrival, 0);
	expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("refused");
	life.replaceRules([taking], 0);
	expect(life.admit(WHO, FACTS, context(), 0).kind).toBe("admitted");
	life.replaceRules([], 0);
	life.withdrawn(admitted.arrival, 0);
});

test("a limit that begins anew gets nothing back from requests that took from the one before", () => {
	const rule: RoutingRule = { id: "r", name: "All", priorityOrder: 1, enabled: true, maxTps: 10 };
	const life = lifecycle(rule);
	const admit = () => life.admit(WHO, FACTS, context(), 0);
	const first = admit();
	if (first.kind === "refused") throw new Error(first.refusal.message);
	life.replaceRules([{ ...rule, maxTps: 20 }], 0);
	const second = admit();
	if (second.kind === "refused") throw new Error(second.refusal.message);
	expect(admit().kind).toBe("admitted");
	life.withdrawn(first.arrival, 0);
	expect(admit().kind).toBe("refused");

	// A burst of 60 instead of 40: three fit, whatever the second one gives back.
	life.reconfigure({ burstSeconds: 3 }, 0);
	for (let i = 0; i < 3; i++) expect(admit().kind).toBe("admitted");
	life.settled(second.arrival, { promptTokens: 0, completionTokens: 0, cachedTokens: 0, source: "measured" }, 0);
	expect(admit().kind).toBe("refused");
});

test("a critical request that is refused for another reason is none of the ten of its minute", () => {
	const life = lifecycle({ id: "r", name: "All", priorityOrder: 1, enabled: true });
	const tooLong = { ...FACTS, maxTokens: 5000 };
	for (let i = 0; i < 10; i++)
		expect(life.admit(WHO, tooLong, context("critical"), 0)).toMatchObject({
			refusal: { code: "context_length_exceeded" },
		});
	for (let i = 0; i < 10; i++) expect(life.admit(WHO, FACTS, context("critical"), 0).kind).toBe("admitted");
	expect(life.admit(WHO, FACTS, context("critical"), 0)).toMatchObject({ refusal: { code: "rate_limited" } });
});

test("new rules say where those before stand now, and so does a rule that was found earlier", () => {
	const a: RoutingRule = { id: "a", name: "A", priorityOrder: 2, enabled: true };
	const b: RoutingRule = { id: "b", name: "B", priorityOrder: 1, enabled: true, matchModel: "x" };
	const life = lifecycle(a);
	const [found] = life.rules;
	expect(life.replaceRules([b, a], 0)).toEqual([1]);
	expect(life.indexOf(found!)).toBe(1);
	expect(life.replaceRules([a], 0)).toEqual([-1, 0]);
	expect(life.replaceRules([b], 0)[0]).toBe(-1);
	expect(life.indexOf(found!)).toBe(-1);
});

test("in a level with sub-queues the environment is the first step of the path", () => {
	const pathOf = (subqueues: readonly number[], environment: string) => {
		const life = new Lifecycle({
			rules: [RULE],
			allocator: ALLOCATOR,
			levelNames: ALLOCATOR.queues.map(({ name }) => name),
			pools: [{ name: "default", models: ["*"], maxContextLength: 1000, forceStream: false }],
			aliases: new Map(),
			flowPath: ["organisation", "account"],
			subqueues,
			estimator: new Estimator({ initialCompletion: 100 }),
			burstSeconds: 2,
		});
		const answer = life.admit({ ...WHO, environment }, FACTS, context(), 0);
		if (answer.kind === "refused") throw new Error(answer.refusal.message);
		const { submit, flowSteps } = answer.arrival;
		return { queue: submit.queue, keys: keysOf(submit.flow), flowSteps };
	};
	const { queue, keys, flowSteps } = pathOf([], "dev");
	expect(flowSteps).toEqual(["organisation", "account"]);
	expect(pathOf([queue], "dev")).toEqual({
		queue,
		keys: ["dev", ...keys],
		flowSteps: ["environment", "organisation", "account"],
	});
	expect(pathOf([queue + 1], "dev").keys).toEqual(keys);
});
