/** The two halves of a pool (weighted router) stand before the same endpoints: whichever asks, the pool's own upstream answers. */
import type { Upstreams } from "../ports/upstream.ts";

/** @param pools how many pools there are; a half's number is its pool's modulo this */
export function sharedUpstreams(upstreams: Upstreams, pools: number): Upstreams {
	return {
		forward: (pool, ...rest) => upstreams.forward(pool % pools, ...rest),
		get: (pool, ...rest) => upstreams.get(pool % pools, ...rest),
		engineOf: (pool, endpoint) => upstreams.engineOf(pool % pools, endpoint),
		report: (pool, endpoint, outcome) => upstreams.report(pool % pools, endpoint, outcome),
		mayRecover: (pool) => upstreams.mayRecover(pool % pools),
	};
}
