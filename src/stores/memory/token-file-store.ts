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

/** The database wins where both know a token; a list cannot suspend an account. */
export function layeredTokens(database: TokenReader, file: TokenReader): TokenReader {
	return {
		find: async (hash) => (await database.find(hash)) ?? file.find(hash),
		async active(afterHash, limit) {
			const both = [...(await database.active(afterHash, limit)), ...(await file.active(afterHash, limit))];
			const byHash = new Map(both.reverse().map((identity) => [identity.hash, identity]));
			return [...byHash.values()].sort((a, b) => (a.hash < b.hash ? -1 : 1)).slice(0, limit);
		},
	};
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
