/** Every implementation of `TokenReader` takes the same exam. */
import { expect, test } from "vitest";
import { TokenSource } from "../../src/app/token-source.ts";
import type { Stores } from "../../src/ports/stores.ts";
import type { ImportedToken } from "../../src/ports/token-store.ts";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { memoryStores } from "../../src/stores/memory/memory-stores.ts";
import { layeredTokens, TokenFileStore } from "../../src/stores/memory/token-file-store.ts";
import { describeTokenReader, type ReaderUnderTest, sha256 } from "./token-reader-contract.ts";

async function inStore(stores: Stores, tokens: readonly ImportedToken[]): Promise<ReaderUnderTest> {
	await stores.tokens.import(tokens, "test");
	return { reader: stores.tokens, close: () => stores.close() };
}

function inFile(tokens: readonly ImportedToken[]): TokenFileStore {
	const lines = tokens.map(({ sha256: hash, accountId, tier, environment = "", workload = "" }) =>
		[hash, accountId, tier, environment, workload].join(","),
	);
	const parsed = TokenFileStore.parse(lines.join("\n"), "tokens.csv");
	if (!parsed.ok) throw new Error(parsed.errors.join());
	return parsed.store;
}

const embedded = () => openEmbedded({ path: ":memory:", thread: false }, Date.now);

describeTokenReader("memory", (tokens) => inStore(memoryStores(Date.now), tokens));
describeTokenReader("embedded database", async (tokens) => inStore(await embedded(), tokens));
describeTokenReader("list file", async (tokens) => ({ reader: inFile(tokens) }));
describeTokenReader("database and list file, half in each, some in both", async (tokens) => {
	const { reader, close } = await inStore(await embedded(), tokens.slice(0, 6));
	return { reader: layeredTokens(reader, inFile(tokens.slice(4))), close: close! };
});
describeTokenReader("what a gateway reads, after its file was replaced", async (tokens) => {
	const { reader, close } = await inStore(await embedded(), tokens.slice(0, 3));
	const source = new TokenSource(reader);
	source.use(inFile([{ sha256: sha256("gone"), accountId: "x", tier: "external" }]));
	source.use(inFile(tokens.slice(3)));
	return { reader: source, close: close! };
});

test("a token that the database revoked is not active because a file has it, too", async () => {
	const tokens = Array.from({ length: 7 }, (_, i) => ({ sha256: sha256(`${i}`), accountId: "shop", tier: "external" }));
	const hashes = tokens.map((token) => token.sha256).sort();
	const stores = await embedded();
	await stores.tokens.import(tokens.slice(0, 4), "test");
	const revoked: string[] = [];
	for (const { id } of (await stores.tokens.list({}, {})).items) {
		const result = await stores.tokens.revoke(id, "leaked", "test");
		if (result.ok) revoked.push(result.value.hash);
	}
	const reader = layeredTokens(stores.tokens, inFile(tokens));
	for (const limit of [1, 2, 100]) {
		const seen: string[] = [];
		for (;;) {
			const page = await reader.active(seen.at(-1), limit);
			seen.push(...page.map(({ hash }) => hash));
			if (page.length < limit) break;
		}
		expect(seen).toEqual(hashes.filter((hash) => !revoked.includes(hash)));
	}
	expect((await reader.find(revoked[0]!))?.revokedAt).toBeDefined();
	await stores.close();
});
