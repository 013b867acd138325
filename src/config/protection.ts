/** `[protection.*]` as the core takes it: lists of `MODEL:number` become numbers for patterns of models. */
import type { ModelNumber, ProtectionSettings } from "../core/capacity/protection.ts";
import type { GatewayConfig } from "./gateway-config.ts";

export type ParsedNumbers =
	| { readonly ok: true; readonly numbers: readonly ModelNumber[] }
	/** The entry that is wrong. */
	| { readonly ok: false; readonly entry: string };

/** Models may have a colon in their name: the last one counts. */
export function parseModelNumbers(list: readonly string[], whole: boolean): ParsedNumbers {
	const numbers: ModelNumber[] = [];
	for (const entry of list) {
		const parts = /^(.+):\s*(\d+(?:\.\d+)?)$/.exec(entry.trim());
		const value = Number(parts?.[2]);
		if (parts === null || !(value > 0) || (whole && !Number.isInteger(value))) return { ok: false, entry };
		numbers.push({ model: parts[1]!.trim(), value });
	}
	return { ok: true, numbers };
}

/** Undefined where nothing is protected. What is wrong in it was refused before. */
export function protectionOf({ protection }: GatewayConfig): ProtectionSettings | undefined {
	const { contextLength, rateLimit } = protection;
	const numbers = (list: readonly string[], whole: boolean) => {
		const parsed = parseModelNumbers(list, whole);
		return parsed.ok ? parsed.numbers : [];
	};
	const settings: ProtectionSettings = {
		...(rateLimit.maxRps === undefined ? {} : { maxRps: rateLimit.maxRps }),
		...(rateLimit.maxTps === undefined ? {} : { maxTps: rateLimit.maxTps }),
		modelMaxRps: numbers(rateLimit.modelMaxRps, false),
		modelMaxTps: numbers(rateLimit.modelMaxTps, false),
		...(contextLength.defaultLimit === undefined ? {} : { contextLimit: contextLength.defaultLimit }),
		modelContextLimits: numbers(contextLength.modelLimits, true),
	};
	const isSet =
		settings.maxRps !== undefined ||
		settings.maxTps !== undefined ||
		settings.contextLimit !== undefined ||
		settings.modelMaxRps.length + settings.modelMaxTps.length + settings.modelContextLimits.length > 0;
	return isSet ? settings : undefined;
}
