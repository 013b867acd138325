/**
 * Who is it: what a token look-up costs, what known tokens weigh, and whether the time it takes tells anything about a key.
 *
 * Speed: 10,000 tokens are read from an embedded database into the look-up's cache, then asked for in a random order, by their text (with
 * its SHA-256) and by their hash. CPU time by `process.cpuUsage`, median of the rounds. Target: at most 2 µs by text.
 *
 * Memory: heap and buffers in use after two collections, full cache minus empty one. The tokens have all fields that the design's
 * e-commerce set-up gives them. Target: at most 10 MB.
 *
 * Timing: two kinds of keys, in random order, each key new and made beforehand: one has nothing in common with any token, the other is a
 * token with its last characters changed. Welch's t between the times of both kinds, after cutting off the slowest tenth of all (dudect:
 * Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017). Below 4.5 the kinds cannot be told apart. The same for the
 * admin token. A third row checks the method itself: comparing character by character must show.
 *
 * Usage: node --expose-gc bench/tokens.ts [--quick]
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TokenLookup } from "../src/engine/token-lookup.ts";
import { AdminAccess } from "../src/http/admin/admin-access.ts";
import { type EmbeddedStores, openEmbedded } from "../src/stores/embedded/open.ts";
import { tokenHash } from "../src/stores/token-secret.ts";

const quick = process.argv.includes("--quick");
const TOKENS = 10_000;
const ROUNDS = quick ? 5 : 15;
const LOOKUPS = quick ? 200_000 : 500_000;
const SAMPLES = quick ? 20_000 : 100_000;
const LONGEST_LOOKUP_US = 2;
const MOST_BYTES = 10e6;
const INDISTINGUISHABLE_T = 4.5;

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const verdict = (holds: boolean) => (holds ? "met" : "NOT MET");
const collect = () => {
	if (globalThis.gc === undefined) throw new Error("run with --expose-gc");
	globalThis.gc();
	globalThis.gc();
	const { heapUsed, external } = process.memoryUsage();
	return heapUsed + external;
};

function lookupOver(stores: EmbeddedStores): TokenLookup {
	return new TokenLookup(
		{
			cacheTtlMs: 1e9,
			cacheSize: TOKENS,
			negativeTtlMs: 5000,
			negativeSize: TOKENS,
			failMode: "fail_close",
			failOpenLimit: 100,
			storeTimeoutMs: 10_000,
			storeRetryMs: 1000,
		},
		{
			reader: stores.tokens,
			hash: tokenHash,
			clock: { now: () => performance.now(), epochNow: () => Date.now() },
			timers: { after: () => () => {} },
		},
	);
}

async function makeTokens(stores: EmbeddedStores): Promise<readonly string[]> {
	const texts = Array.from(
		{ length: TOKENS },
		() => `tok_internal_production_${randomBytes(24).toString("base64url")}`,
	);
	const account = (n: number) => `customer-${n % 100}-uuid`;
	const accounts = Array.from({ length: 100 }, (_, n) => ({
		kind: "put_account" as const,
		account: {
			id: account(n),
			email: "",
			name: `Customer ${n}`,
			accountType: "external" as const,
			organisation: `organisation-${n}`,
		},
	}));
	const imports = texts.map((text, n) => ({
		kind: "import_token" as const,
		sha256: tokenHash(text),
		token: {
			accountId: account(n),
			priorityTier: "internal",
			environment: "production",
			quotaTpsLimit: 300,
			quotaTokensPerMonth: 10_000_000,
			expiresAt: Date.now() + 1e10,
			maxPriority: 1,
			allowedModels: ["llama-*"],
		},
	}));
	const result = await stores.policy.apply([...accounts, ...imports], "bench");
	if (!result.ok) throw new Error(result.message);
	return texts;
}

function measureLookups(ask: (at: number) => unknown): number {
	const order = Uint32Array.from({ length: LOOKUPS }, () => Math.floor(Math.random() * TOKENS));
	const rounds = Array.from({ length: ROUNDS }, () => {
		const before = process.cpuUsage();
		for (const at of order) ask(at);
		const { user, system } = process.cpuUsage(before);
		return (user + system) / LOOKUPS;
	});
	return median(rounds);
}

/** Welch's t of the times that `ask` takes for keys of both kinds. */
async function timeSignal(
	kinds: readonly [() => string, () => string],
	ask: (key: string) => unknown,
): Promise<number> {
	const samples = Array.from({ length: SAMPLES }, () => {
		const kind = Math.random() < 0.5 ? 0 : 1;
		// a flat string, whatever it was put together from
		return { kind, key: Buffer.from(kinds[kind]()).toString(), ns: 0 };
	});
	for (const sample of samples) {
		const start = process.hrtime.bigint();
		await ask(sample.key);
		sample.ns = Number(process.hrtime.bigint() - start);
	}
	const limit = samples.map(({ ns }) => ns).toSorted((a, b) => a - b)[Math.floor(SAMPLES * 0.9)]!;
	const [first, second] = [0, 1].map((kind) => {
		const times = samples.filter((sample) => sample.kind === kind && sample.ns <= limit).map(({ ns }) => ns);
		const mean = times.reduce((sum, ns) => sum + ns, 0) / times.length;
		const variance = times.reduce((sum, ns) => sum + (ns - mean) ** 2, 0) / (times.length - 1);
		return { mean, error: variance / times.length };
	});
	return Math.abs(first!.mean - second!.mean) / Math.sqrt(first!.error + second!.error);
}

function characterByCharacter(given: string, known: string): boolean {
	for (let at = 0; at < known.length; at++) if (given[at] !== known[at]) return false;
	return given.length === known.length;
}

const folder = mkdtempSync(join(tmpdir(), "tokligence-bench-"));
const stores = await openEmbedded({ path: join(folder, "bench.db"), thread: false }, Date.now);
try {
	const texts = await makeTokens(stores);
	const hashes = texts.map(tokenHash);
	const empty = lookupOver(stores);
	const before = collect();
	for (const hash of hashes) await empty.lookUpHash(hash);
	const bytes = collect() - before;
	const lookup = empty;
	if (lookup.size() !== TOKENS) throw new Error("not every token is in the cache");

	const byText = measureLookups((at) => lookup.lookUp(texts[at]!));
	const byHash = measureLookups((at) => lookup.lookUpHash(hashes[at]!));
	console.log(
		`look-up from the cache, by text  ${byText.toFixed(2)} µs (at most ${LONGEST_LOOKUP_US}: ${verdict(byText <= LONGEST_LOOKUP_US)})`,
	);
	console.log(`look-up from the cache, by hash  ${byHash.toFixed(2)} µs`);
	console.log(
		`${TOKENS} tokens in the cache       ${(bytes / 1e6).toFixed(1)} MB, ${Math.round(bytes / TOKENS)} B each (at most ${MOST_BYTES / 1e6} MB: ${verdict(bytes <= MOST_BYTES)})`,
	);

	const far = () => `sec_outsider_production_${randomBytes(24).toString("base64url")}`;
	const near = () => {
		const token = texts[Math.floor(Math.random() * TOKENS)]!;
		return token.slice(0, -4) + randomBytes(3).toString("base64url");
	};
	const admin = `adm_${randomBytes(32).toString("base64url")}`;
	const access = new AdminAccess(admin);
	const farAdmin = () => `sec_${randomBytes(32).toString("base64url")}`;
	const nearAdmin = () => admin.slice(0, -4) + randomBytes(3).toString("base64url");
	const rows: readonly (readonly [string, number])[] = [
		["unknown token", await timeSignal([far, near], (key) => lookup.lookUp(key))],
		["wrong admin token", await timeSignal([farAdmin, nearAdmin], (key) => access.check(`Bearer ${key}`, false))],
	];
	for (const [name, t] of rows) {
		console.log(
			`Welch's t, ${name.padEnd(20)}  ${t.toFixed(2)} (below ${INDISTINGUISHABLE_T}: ${verdict(t < INDISTINGUISHABLE_T)})`,
		);
	}
	const naive = await timeSignal([farAdmin, nearAdmin], (key) => characterByCharacter(key, admin));
	console.log(
		`Welch's t, character by character  ${naive.toFixed(2)} (the method sees it: ${naive > INDISTINGUISHABLE_T ? "yes" : "NO, the rows above say nothing"})`,
	);
} finally {
	await stores.close();
	rmSync(folder, { recursive: true, force: true });
}
