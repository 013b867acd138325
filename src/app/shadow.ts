/** The shadow allocator of a running gateway: compares every request, counts for `/metrics`, and logs a difference a second at most. */
import type { Allocator } from "../core/allocate/allocator.ts";
import { ShadowComparison } from "../core/allocate/shadow-comparison.ts";
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
import { systemClock } from "./system.ts";

const LOG_EVERY_MS = 1000;

export interface RunningShadow {
	readonly comparison: ShadowComparison;
	observe(arrival: Arrival): void;
	metrics(): Iterable<string>;
}

export function shadowOf(
	acting: Allocator,
	shadow: Allocator,
	log: { info(fields: object, message: string): void },
): RunningShadow {
	const comparison = new ShadowComparison(acting, shadow);
	let loggedAt = Number.NEGATIVE_INFINITY;
	return {
		comparison,
		observe({ metadata, rule, adjusted, allocation }) {
			const { verdict, queue, shadowQueue } = comparison.observe(metadata, rule.rule, adjusted, allocation);
			const now = systemClock.now();
			if (verdict === "same" || now - loggedAt < LOG_EVERY_MS) return;
			loggedAt = now;
			const { tier, environment, accountId } = metadata;
			log.info(
				{ verdict, queue, shadow_queue: shadowQueue, tier, environment, account: accountId },
				"shadow allocator",
			);
		},
		*metrics() {
			yield "# HELP tokligence_scheduler_shadow_total Requests by queue and by what the shadow allocator would have chosen.";
			yield "# TYPE tokligence_scheduler_shadow_total counter";
			const sums = new Map<string, number>();
			for (const { queue, shadowQueue, verdict, requests } of comparison.report().pairs) {
				const labels = `queue="${queue}",shadow_queue="${shadowQueue}",verdict="${verdict}"`;
				sums.set(labels, (sums.get(labels) ?? 0) + requests);
			}
			for (const [labels, requests] of sums) yield `tokligence_scheduler_shadow_total{${labels}} ${requests}`;
		},
	};
}
