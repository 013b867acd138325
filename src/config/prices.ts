/** What a request costs (`[pricing.MODEL]`), in nano-dollars. */

import { costOf } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import type { GatewayConfig } from "./gateway-config.ts";

/** Prices are per million tokens in dollars: a dollar per million is 1,000 nano-dollars per token. */
export function pricesOf(config: GatewayConfig): (model: string, usage: Usage) => number {
	return (model, usage) => {
		const price = config.pricing.get(model);
		if (price === undefined) return 0;
		const weights = {
			promptWeight: price.promptUsdPerMillion * 1000,
			completionWeight: price.completionUsdPerMillion * 1000,
			cachedWeight: (price.cachedUsdPerMillion ?? price.promptUsdPerMillion) * 1000,
		};
		return Math.round(costOf(weights, usage.promptTokens, usage.completionTokens, usage.cachedTokens));
	};
}
