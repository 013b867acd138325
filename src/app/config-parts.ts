/** What the data plane takes from a configuration, at the start and at each reload. */
import type { CompiledConfig } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { ServingPool } from "../core/lifecycle/lifecycle.ts";
import type { TokenLookup } from "../engine/token-lookup.ts";
import { Classifier, type HeaderListener } from "../http/classifier.ts";
import type { DataPlaneSettings } from "../http/data-plane.ts";
import { AddressSet } from "../http/peers.ts";

/** `contextOf`: what the engine of a pool says of its context; asked where nobody configured one. */
export function servingPoolsOf(
	{ pools }: Pick<CompiledConfig, "pools">,
	contextOf: (pool: number) => number | undefined = () => undefined,
): readonly ServingPool[] {
	return pools.map(({ name, provider, models, maxContextLength, control }, index) => {
		const said = control.engineMaySet.includes("maxContextLength") ? contextOf(index) : undefined;
		return { name, models, maxContextLength: said ?? maxContextLength, forceStream: provider.forceStream };
	});
}

export function planeSettingsOf(config: GatewayConfig, { pools: whole, core }: CompiledConfig): DataPlaneSettings {
	const { gateway } = config;
	// The halves of a pool have one engine.
	const pools = core.halves === undefined ? whole : core.halves.flatMap(() => whole);
	return {
		body: { maxBytes: gateway.maxBodyBytes, timeoutMs: gateway.bodyTimeoutMs },
		headerTimeoutMs: gateway.headerTimeoutMs,
		streamHoldMs: gateway.streamHoldMs,
		passthroughPaths: gateway.passthroughPaths,
		engines: pools.map(({ provider }) => ({
			idleTimeoutMs: provider.idleTimeoutMs,
			enginePriority: provider.enginePriority,
			forceStream: provider.forceStream,
			firstByteTimeoutMs: typeof provider.firstByteTimeoutMs === "number" ? provider.firstByteTimeoutMs : undefined,
		})),
	};
}

/** `levels`: of the process; their number does not change while it runs. */
export function classifierOf(
	config: GatewayConfig,
	levels: number,
	lookup: TokenLookup,
	headers: HeaderListener,
): Classifier {
	const { token, header, default: fallback } = config.classifier;
	return new Classifier(
		{
			kind: config.requestScheduler.classifier,
			headersEnabled: header.enabled,
			tokensEnabled: token.enabled,
			defaultEnabled: fallback.enabled,
			requireToken: header.requireToken,
			untrusted: header.untrusted,
			trusted: new AddressSet(header.trustedCidrs),
			trustedProxies: new AddressSet(config.gateway.trustedProxies),
			levels,
			failOpenPriority: token.failOpenPriority,
		},
		lookup,
		header.auditLogEnabled ? headers : undefined,
	);
}
