/** How full a pool is, over the endpoints that are up: for status and metrics. */
import type { Millis, Tokens } from "../model/units.ts";
import type { Pool } from "./pool.ts";

export interface PoolLoad {
	readonly endpointsUp: number;
	readonly sequences: number;
	readonly sequencesMax: number;
	readonly tokens: Tokens;
	readonly tokensMax: Tokens;
	readonly tokensPerSec: number;
	/** 1 is full: the fullest of sequences, tokens and rate. 0 where nothing limits. */
	readonly saturation: number;
}

export function poolLoad(pool: Pool, now: Millis): PoolLoad {
	let endpointsUp = 0;
	let sequences = 0;
	let sequencesMax = 0;
	let tokens = 0;
	let tokensMax = 0;
	for (const endpoint of pool.endpoints) {
		if (!endpoint.up) continue;
		endpointsUp++;
		sequences += endpoint.sequences;
		sequencesMax += endpoint.sequencesMax;
		tokens += endpoint.tokens;
		tokensMax += endpoint.tokensMax;
	}
	const tokensPerSec = pool.throughput.perSecond(now);
	const saturation = Math.max(
		share(sequences, sequencesMax),
		share(tokens, tokensMax),
		share(tokensPerSec, pool.capacity.maxTokensPerSec),
	);
	return { endpointsUp, sequences, sequencesMax, tokens, tokensMax, tokensPerSec, saturation };
}

function share(used: number, limit: number): number {
	return limit > 0 && Number.isFinite(limit) ? used / limit : 0;
}
