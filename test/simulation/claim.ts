/** What a claim about scheduling is: said by whom, how far off we may be, and measured on a core. */
import type { CoreSettings } from "../../src/core/schedule/core-settings.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";

export type MakeCore = (settings: CoreSettings) => SchedulingCore;

export interface Outcome {
	/** As shown, with its unit. */
	readonly figure: string;
	readonly holds: boolean;
}

/** A claim is measured small in every test run, and whole where the full traces are. */
export interface Scale {
	/** Folder of the full traces; without it the excerpts of the repository stand in. */
	readonly data?: string;
	/** As many samples as the sharper margin needs. */
	readonly long: boolean;
}

export const EVERY_RUN: Scale = { long: false };

export interface Claim {
	readonly id: string;
	readonly claim: string;
	readonly source: string;
	readonly expected: string;
	readonly margin: string;
	/** The margin of the long run, where that is another one or the long run measures more. */
	readonly longMargin?: string;
	measure(makeCore?: MakeCore, scale?: Scale): Outcome;
}

export const sound: MakeCore = (settings) => new SchedulingCore(settings);

export function claim(
	id: string,
	text: string,
	source: string,
	expected: string,
	margin: string | readonly [everyRun: string, long: string],
	measure: (makeCore: MakeCore, scale: Scale) => Outcome,
): Claim {
	return {
		id,
		claim: text,
		source,
		expected,
		margin: typeof margin === "string" ? margin : margin[0],
		...(typeof margin === "string" ? {} : { longMargin: margin[1] }),
		measure: (makeCore = sound, scale = EVERY_RUN) => measure(makeCore, scale),
	};
}

export function percent(value: number): string {
	return `${(100 * value).toFixed(2)} %`;
}
