/**
 * What serving a request asks of whatever knows tokens: databases, lists, layers of them. An implementation's test calls `describeTokenReader` with a factory;
 * nothing here knows how tokens got in.
 */
import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TokenReader } from "../../src/ports/token-reader.ts";
import type { ImportedToken } from "../../src/ports/token-store.ts";

export const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

export interface ReaderUnderTest {
	readonly reader: TokenReader;
	close?(): Promise<void>;
}

/** Makes a reader that knows exactly these. */
export type OpenReader = (tokens: readonly ImportedToken[]) => Promise<ReaderUnderTest>;

const TOKENS: readonly ImportedToken[] = [
	{ sha256: sha256("0"), accountId: "shop", tier: "internal", environment: "production", workload: "batch" },
	...Array.from({ length: 9 }, (_, i) => ({ sha256: sha256(`${i + 1}`), accountId: "shop", tier: "external" })),
];
const HASHES = TOKENS.map((token) => token.sha256).sort();

export function describeTokenReader(name: string, open: OpenReader): void {
	describe(`token reader: ${name}`, () => {
		let subject: ReaderUnderTest;
		let reader: TokenReader;
		beforeEach(async () => {
			subject = await open(TOKENS);
			reader = subject.reader;
		});
		afterEach(() => subject.close?.());

		it("finds a token by its hash, with what its holder may do", async () => {
			expect(await reader.find(sha256("0"))).toMatchObject({
				hash: sha256("0"),
				accountId: "shop",
				priorityTier: "internal",
				environment: "production",
				workloadTag: "batch",
				accountStatus: "active",
			});
			const plain = await reader.find(sha256("1"));
			expect(plain?.priorityTier).toBe("external");
			expect(plain).not.toHaveProperty("environment");
		});

		it("gives each token one id, the same at every look-up", async () => {
			const idOf = async (hash: string) => (await reader.find(hash))?.tokenId;
			const ids = await Promise.all(HASHES.map(idOf));
			expect(new Set(ids).size).toBe(TOKENS.length);
			expect(await Promise.all(HASHES.map(idOf))).toEqual(ids);
		});

		it("knows nothing of other hashes, whatever they look like", async () => {
			for (const hash of ["", "' OR '1'='1", "%", sha256("no"), HASHES[0]!.slice(0, 63), "x".repeat(1_000_000)]) {
				expect(await reader.find(hash)).toBeUndefined();
			}
		});

		it("hands out all active ones in order of hash, each once, whatever the size of a page", async () => {
			for (const limit of [1, 3, 5, 10, 11]) {
				const seen: string[] = [];
				for (;;) {
					const page = await reader.active(seen.at(-1), limit);
					expect(page.length).toBeLessThanOrEqual(limit);
					seen.push(...page.map(({ hash }) => hash));
					if (page.length < limit) break;
				}
				expect(seen).toEqual(HASHES);
			}
		});

		it("goes on after a hash that it does not know", async () => {
			const between = `${HASHES[4]!.slice(0, 63)}z`;
			const page = await reader.active(between, 2);
			expect(page.map(({ hash }) => hash)).toEqual(HASHES.slice(5, 7));
			expect(await reader.active("z", 2)).toEqual([]);
		});

		it("says the same of a token in both ways", async () => {
			for (const identity of await reader.active(undefined, 100))
				expect(await reader.find(identity.hash)).toEqual(identity);
		});
	});
}
