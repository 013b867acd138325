/** What a person should know at the start: what was taken by default, what does not answer. */
import type { GatewayConfig } from "../config/gateway-config.ts";

export function noticesOf(config: GatewayConfig, endpointsUp: number): readonly string[] {
	const notices: string[] = [];
	for (const { name, endpoints, capacity } of config.providers) {
		notices.push(`provider ${name}: ${endpoints.join(", ")}`);
		if (
			capacity.maxConcurrent === undefined &&
			capacity.maxInflightTokens === undefined &&
			config.requestScheduler.enabled
		) {
			notices.push(
				`provider ${name}: no capacity is set, max_concurrent = 64 is assumed; \`tokligence benchmark\` measures it`,
			);
		}
	}
	if (endpointsUp === 0) notices.push("no upstream answers yet: requests get 502 until one does");
	if (config.classifier.default.enabled)
		notices.push("requests without a token are served as account default ([classifier.default] enabled)");
	if (!config.requestScheduler.enabled) notices.push("[request_scheduler] enabled = false: nothing is queued");
	return notices;
}
