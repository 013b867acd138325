/** What a person should know at the start: what was taken by default, what does not answer. */
import type { CompiledPool } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { EngineWord } from "./capacity-keeper.ts";

export function noticesOf(
	config: GatewayConfig,
	endpointsUp: number,
	pools: readonly CompiledPool[],
	wordOf: (pool: number) => EngineWord,
): readonly string[] {
	const notices: string[] = [];
	for (const { name, endpoints } of config.providers) notices.push(`provider ${name}: ${endpoints.join(", ")}`);
	if (config.requestScheduler.enabled)
		for (const [index, pool] of pools.entries()) {
			const notice = capacityNotice(pool, wordOf(index));
			if (notice !== undefined) notices.push(`pool ${pool.name}: ${notice}`);
		}
	if (endpointsUp === 0) notices.push("no upstream answers yet: requests get 502 until one does");
	if (config.classifier.default.enabled)
		notices.push("requests without a token are served as account default ([classifier.default] enabled)");
	if (!config.requestScheduler.enabled) notices.push("[request_scheduler] enabled = false: nothing is queued");
	return notices;
}

/** What a pool's limits are taken from, where the configuration does not say them outright. */
function capacityNotice(
	{ mode, control }: CompiledPool,
	{ maxConcurrent, maxInflightTokens }: EngineWord,
): string | undefined {
	if (mode === "adaptive") {
		const { initial, min, max } = control.adaptive!.concurrency!;
		return `max_concurrent follows the engine, from ${initial}, within ${min} to ${max}`;
	}
	if (control.unmeasured !== undefined) return `${control.unmeasured}; estimates are used`;
	if (mode !== "engine") return undefined;
	if (maxConcurrent === undefined && maxInflightTokens === undefined)
		return "no capacity is set and the engine names none, max_concurrent = 64 is assumed; `tokligence benchmark` measures it";
	const said = [
		maxConcurrent === undefined ? [] : [`${maxConcurrent} sequences`],
		maxInflightTokens === undefined ? [] : [`${maxInflightTokens} tokens`],
	].flat();
	return `the engine says it has room for ${said.join(" and ")}`;
}
