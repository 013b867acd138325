/** `tokligence explain --live`: the running gateway's own answer for a described request. */
import { callJson } from "./admin-client.ts";
import type { CommandIo } from "./config-options.ts";
import { cell, type StoreOptions, withAdmin } from "./store-access.ts";

interface Explained {
	readonly outcome: string;
	readonly steps: readonly { readonly step: string; readonly result: string }[];
}

/** `described` in the admin API's shape. */
export function explainLive(
	described: Readonly<Record<string, unknown>>,
	options: StoreOptions,
	io: CommandIo,
): Promise<void> {
	return withAdmin(
		options,
		io,
		async (client) => {
			const explained = await callJson<Explained>(client, "POST", "/explain", described);
			if (options.json === true) {
				io.out(JSON.stringify(explained, undefined, 2));
				return;
			}
			const width = Math.max(...explained.steps.map(({ step }) => step.length));
			for (const { step, result } of explained.steps) io.out(`${step.padEnd(width)}  ${cell(result)}`);
		},
		{ gatewayOnly: true },
	);
}
