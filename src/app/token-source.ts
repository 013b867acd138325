/** Where tokens come from: the database, and beside it a list file (`[classifier.token] file`) that may be replaced while the process runs. */
import { readFileSync } from "node:fs";
import type { ConfigProblem } from "../config/problem.ts";
import type { TokenReader } from "../ports/token-reader.ts";
import { layeredTokens, TokenFileStore } from "../stores/memory/token-file-store.ts";

export type TokenFileReading =
	| { readonly ok: true; readonly tokens: TokenReader | undefined }
	| { readonly ok: false; readonly problems: readonly ConfigProblem[] };

export class TokenSource implements TokenReader {
	readonly #database: TokenReader;
	#current: TokenReader;

	constructor(database: TokenReader) {
		this.#database = database;
		this.#current = database;
	}

	/** Without a file when there is none. */
	use(file: TokenReader | undefined): void {
		this.#current = file === undefined ? this.#database : layeredTokens(this.#database, file);
	}

	find(hash: string): ReturnType<TokenReader["find"]> {
		return this.#current.find(hash);
	}

	active(afterHash: string | undefined, limit: number): ReturnType<TokenReader["active"]> {
		return this.#current.active(afterHash, limit);
	}
}

export function readTokenFile(path: string | undefined): TokenFileReading {
	if (path === undefined) return { ok: true, tokens: undefined };
	let text: string;
	try {
		text = readFileSync(path, "utf8");
	} catch (error) {
		const why = (error as NodeJS.ErrnoException).code ?? "unknown reason";
		return { ok: false, problems: [problem(path, `cannot be read: ${why}`)] };
	}
	const result = TokenFileStore.parse(text, path);
	return result.ok
		? { ok: true, tokens: result.store }
		: { ok: false, problems: result.errors.map((message) => problem("", message)) };
}

function problem(where: string, message: string): ConfigProblem {
	return { severity: "error", where, message };
}
