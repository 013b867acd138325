/** The tokens of a list file (`[classifier.token] file`), read only: before a database exists, and beside it. */
import type { TokenIdentity, TokenReader } from "../../ports/token-reader.ts";
import type { ImportedToken } from "../../ports/token-store.ts";
import { parseTokenList } from "./token-list.ts";

export type TokenFileResult =
	| { readonly ok: true; readonly store: TokenFileStore }
	| { readonly ok: false; readonly errors: readonly string[] };

export class TokenFileStore implements TokenReader {
	readonly #identities: ReadonlyMap<string, TokenIdentity>;
	readonly #hashes: readonly string[];

	private constructor(rows: readonly ImportedToken[]) {
		this.#identities = new Map(rows.map((row) => [row.sha256, fileIdentity(row)]));
		this.#hashes = [...this.#identities.keys()].sort();
	}

	/** `text` is the file's content, `file` its name for errors (`file:line: …`). */
	static parse(text: string, file: string): TokenFileResult {
		const list = parseTokenList(text, file);
		return list.ok ? { ok: true, store: new TokenFileStore(list.rows) } : list;
	}

	get size(): number {
		return this.#identities.size;
	}

	async find(hash: string): Promise<TokenIdentity | undefined> {
		return this.#identities.get(hash);
	}

	async active(afterHash: string | undefined, limit: number): Promise<readonly TokenIdentity[]> {
		const hashes = afterHash === undefined ? this.#hashes : this.#hashes.filter((hash) => hash > afterHash);
		return hashes.slice(0, limit).map((hash) => this.#identities.get(hash)!);
	}
}

/** The database wins where both know a token, also when it has revoked it; a list cannot suspend an account. */
export function layeredTokens(database: TokenReader, file: TokenReader): TokenReader {
	return {
		find: async (hash) => (await database.find(hash)) ?? file.find(hash),
		async active(afterHash, limit) {
			const own = await unknownTo(database, file, afterHash, limit);
			const both = [...(await database.active(afterHash, limit)), ...own];
			return both.sort((a, b) => (a.hash < b.hash ? -1 : 1)).slice(0, limit);
		},
	};
}

/** The first `limit` active tokens of the file that the database has never had. */
async function unknownTo(
	database: TokenReader,
	file: TokenReader,
	afterHash: string | undefined,
	limit: number,
): Promise<readonly TokenIdentity[]> {
	const found: TokenIdentity[] = [];
	let last = afterHash;
	for (;;) {
		const page = await file.active(last, limit);
		for (const identity of page) if ((await database.find(identity.hash)) === undefined) found.push(identity);
		if (page.length < limit || found.length >= limit) return found.slice(0, limit);
		last = page.at(-1)!.hash;
	}
}

function fileIdentity(row: ImportedToken): TokenIdentity {
	return {
		hash: row.sha256,
		tokenId: `file_${row.sha256.slice(0, 16)}`,
		accountId: row.accountId,
		priorityTier: row.tier,
		...(row.environment === undefined ? {} : { environment: row.environment }),
		...(row.workload === undefined ? {} : { workloadTag: row.workload }),
		accountStatus: "active",
		accountType: row.tier === "internal" ? "internal" : "external",
	};
}
