/**
 * A described request through the same life cycle and scheduling core as a real one, in an idle gateway: every step of the decision, as data.
 * Nothing here decides anything; it runs what the gateway runs and says what came out.
 */
import { type CompiledConfig, compile } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import { defaultRules } from "../core/classify/default-rules.ts";
import { Estimator } from "../core/classify/estimator.ts";
import { whyMissed } from "../core/classify/rule-misses.ts";
import type { FlowStep } from "../core/lifecycle/flow-steps.ts";
import { type Arrival, Lifecycle } from "../core/lifecycle/lifecycle.ts";
import type { Refusal } from "../core/model/error-code.ts";
import type { AllocatorKind, RoutingRule } from "../core/model/policy.ts";
import type { RequestFacts } from "../core/model/request-facts.ts";
import type { RequestHints, RoutingMetadata } from "../core/model/routing.ts";
import { costOf } from "../core/model/units.ts";
import type { CapacitySettings } from "../core/schedule/core-settings.ts";
import { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import { type PromiseSteps, promisesOf, type Surroundings, windowsAt } from "./explain-promises.ts";

export interface Described {
	readonly metadata: RoutingMetadata;
	readonly hints: RequestHints;
	readonly model: string;
	readonly promptTokens: number;
	readonly maxTokens: number | undefined;
}

export interface RuleTried {
	readonly rule: RoutingRule;
	/** Why not; absent for the one that matched. */
	readonly missed: string | undefined;
}

export interface Explanation {
	readonly described: Described;
	/** In order, down to the one that matched; empty when the request was refused before. */
	readonly rules: readonly RuleTried[];
	/** What was promised to it and to others; empty when it was refused before. */
	readonly promises: PromiseSteps;
	readonly outcome:
		| { readonly kind: "refused"; readonly refusal: Refusal }
		| {
				readonly kind: "scheduled";
				readonly arrival: Arrival;
				/** The one that took it. */
				readonly allocator: AllocatorKind;
				/** Its part of capacity and accounts, where there are two; the account's place among them as parts of 1. */
				readonly route?: { readonly share: number; readonly point: number; readonly from: number; readonly to: number };
				readonly queueIndex: number;
				readonly queueLabel: string;
				readonly queueName: string;
				readonly queueWeight: number;
				readonly queueDepth: number;
				readonly limitRps: number | undefined;
				readonly limitTps: number | undefined;
				readonly reservedTps: number | undefined;
				readonly lendable: boolean;
				readonly flowPath: readonly string[];
				readonly cost: number;
				readonly pools: readonly { readonly name: string; readonly capacity: CapacitySettings }[];
				/** What the core answers when nothing else is there: `dispatch`, or why not. */
				readonly verdict: string;
				/** Neither now nor ever. */
				readonly never: boolean;
		  };
}

export function explainDecision(
	config: GatewayConfig,
	described: Described,
	surroundings: Surroundings = { at: 0 },
): Explanation {
	const compiled = compile(config, []);
	const windows = windowsAt(surroundings, config);
	const lifecycle = lifecycleOf(config, compiled, surroundings.policy?.rules);
	lifecycle.useWindows(windows);
	const facts: RequestFacts = {
		operation: "chat",
		model: described.model,
		stream: true,
		wantsStreamUsage: true,
		// The prompt is described in tokens, so nothing is left to estimate from its characters.
		promptChars: 0,
		promptExtraTokens: described.promptTokens,
		sequences: 1,
		hasTools: false,
		...(described.maxTokens === undefined ? {} : { maxTokens: described.maxTokens }),
	};
	const context = { hints: described.hints, bodyBytes: 0, startWithinMs: Number.POSITIVE_INFINITY, tokenInUse: 0 };
	const admitted = lifecycle.admit(described.metadata, facts, context, 0);
	if (admitted.kind === "refused") return { described, rules: [], promises: NO_PROMISES, outcome: admitted };
	const { arrival } = admitted;
	const ruleDepths = lifecycle.rules.map(({ rule }) => rule.maxQueueDepth ?? Number.POSITIVE_INFINITY);
	const core = new SchedulingCore({ ...compiled.core, ruleDepths });
	core.scaleCapacity(windows.capacityMultiplier, 0);
	core.submit(arrival.submit, 0);
	const decision = core.next();
	const pool = core.pools[decision?.pool ?? arrival.submit.pools[0]!]!;
	const queueIndex = decision?.queue ?? arrival.submit.queue;
	const queue = pool.queues[queueIndex]!.settings;
	const { promptTokens, completionTokens, cachedTokens } = arrival.submit;
	const promises = promisesOf(arrival, config, compiled, windows, surroundings);
	const dispatched = decision?.kind === "dispatch" ? "dispatch" : (decision?.reason ?? "none");
	return {
		described,
		promises,
		rules: lifecycle.rules.slice(0, arrival.rule.index + 1).map(({ rule, index }) => ({
			rule,
			missed: index === arrival.rule.index ? undefined : whyMissed(rule, arrival.metadata, arrival.model),
		})),
		outcome: {
			kind: "scheduled",
			arrival,
			allocator: pool.allocator,
			...routeOf(arrival, core),
			queueIndex,
			queueLabel: queue.label,
			queueName: queue.name,
			queueWeight: queue.weight,
			queueDepth: Math.floor(queue.maxDepth * arrival.adjusted.maxQueueDepthMultiplier),
			limitRps: queue.limitRps,
			limitTps: queue.limitTps,
			reservedTps: queue.reservedTps,
			lendable: queue.lendable !== false,
			flowPath: arrival.flowSteps,
			cost: costOf(compiled.core.cost, promptTokens, completionTokens, cachedTokens),
			pools: (pool.allocator === core.pools[arrival.submit.pools[0]!]!.allocator
				? arrival.submit.pools
				: arrival.submit.other!.pools
			).map((at) => core.pools[at]!),
			verdict: promises.isSpent ? "quota_exceeded" : dispatched,
			never: promises.isSpent || decision?.kind === "shed",
		},
	};
}

/** Which accounts the half has that this one belongs to. */
function routeOf({ route }: Arrival, { halves }: SchedulingCore) {
	if (route === undefined || halves === undefined) return {};
	const first = halves[0]!.share;
	const [from, to] = route.half === 0 ? [0, first] : [first, 1];
	return { route: { share: halves[route.half]!.share, point: route.point, from, to } };
}

const NO_PROMISES: PromiseSteps = { steps: [], isSpent: false };

function lifecycleOf(
	config: GatewayConfig,
	{ allocator, router, levelNames, pools, guard, protection }: CompiledConfig,
	rules: readonly RoutingRule[] = defaultRules(levelNames.length),
): Lifecycle {
	return new Lifecycle({
		guard: new CapacityGuard(guard),
		rules,
		allocator,
		...(router === undefined ? {} : { router }),
		levelNames,
		pools: pools.map(({ name, models, maxContextLength, provider }) => ({
			name,
			models,
			maxContextLength,
			forceStream: provider.forceStream,
		})),
		aliases: config.models,
		flowPath: config.requestScheduler.flowPath as readonly FlowStep[],
		subqueues: config.allocator.priority.enableSubqueues,
		estimator: new Estimator({ initialCompletion: config.cost.initialCompletion }),
		burstSeconds: config.capacity.burstSeconds,
		protection,
	});
}
