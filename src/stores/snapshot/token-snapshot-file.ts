/**
 * The snapshot of active tokens in a file: one JSON line of heading, one JSON line per token; mode 0600; replaced by rename, so a
 * reader sees the old or the new one. It holds hashes, never tokens. Read when first asked, kept until replaced.
 */
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { EpochMillis } from "../../core/model/units.ts";
import { StoreError } from "../../ports/store-error.ts";
import type { TokenIdentity, TokenReader } from "../../ports/token-reader.ts";
import type { TokenSnapshot } from "../../ports/token-snapshot.ts";

const FORMAT = "tokligence-token-snapshot";
const VERSION = 1;
const PAGE = 1000;

export class TokenSnapshotFile implements TokenSnapshot {
	readonly #path: string;
	readonly #epochNow: () => EpochMillis;
	#tokens: ReadonlyMap<string, TokenIdentity> | undefined;
	#takenAt: EpochMillis | undefined;
	#loading: Promise<void> | undefined;

	constructor(path: string, epochNow: () => EpochMillis) {
		this.#path = path;
		this.#epochNow = epochNow;
	}

	async find(hash: string): Promise<TokenIdentity | undefined> {
		await this.load();
		return this.#tokens?.get(hash);
	}

	takenAt(): EpochMillis | undefined {
		return this.#takenAt;
	}

	size(): number {
		return this.#tokens?.size ?? 0;
	}

	/** A missing file is an empty snapshot; a damaged one rejects with `StoreError`. */
	load(): Promise<void> {
		if (this.#tokens !== undefined) return Promise.resolve();
		this.#loading ??= this.#read().finally(() => {
			this.#loading = undefined;
		});
		return this.#loading;
	}

	async write(tokens: readonly TokenIdentity[]): Promise<void> {
		const takenAt = this.#epochNow();
		const lines = [{ format: FORMAT, version: VERSION, takenAt, count: tokens.length }, ...tokens];
		const incoming = `${this.#path}.new`;
		try {
			await rm(incoming, { force: true });
			const file = await open(incoming, "wx", 0o600);
			try {
				await file.writeFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
				await file.sync();
			} finally {
				await file.close();
			}
			await rename(incoming, this.#path);
			const folder = await open(dirname(this.#path), "r");
			await folder.sync().finally(() => folder.close());
		} catch (error) {
			const { code, message } = error as NodeJS.ErrnoException;
			throw new StoreError(
				code === "ENOSPC" ? "full" : "unavailable",
				`snapshot ${this.#path} cannot be written, the last one stays: ${message}`,
				{ cause: error },
			);
		}
		this.#tokens = new Map(tokens.map((token) => [token.hash, token]));
		this.#takenAt = takenAt;
	}

	async #read(): Promise<void> {
		const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
			if (error.code === "ENOENT") return undefined;
			throw new StoreError("unavailable", `snapshot ${this.#path} cannot be read: ${error.message}`, { cause: error });
		});
		if (text === undefined) {
			this.#tokens = new Map();
			return;
		}
		try {
			const [heading, ...tokens] = text
				.trimEnd()
				.split("\n")
				.map((line) => JSON.parse(line)) as [{ format?: string; count?: number; takenAt: number }, ...TokenIdentity[]];
			if (heading.format !== FORMAT || heading.count !== tokens.length) throw new Error("heading and content differ");
			this.#tokens = new Map(tokens.map((token) => [token.hash, token]));
			this.#takenAt = heading.takenAt;
		} catch (error) {
			throw new StoreError(
				"corrupt",
				`snapshot ${this.#path} is damaged: delete it, it is made again within the hour`,
				{
					cause: error,
				},
			);
		}
	}
}

/** Reads every active token, page by page, and replaces the snapshot; answers how many. */
export async function refreshSnapshot(reader: TokenReader, snapshot: TokenSnapshot): Promise<number> {
	const tokens: TokenIdentity[] = [];
	for (;;) {
		const page = await reader.active(tokens.at(-1)?.hash, PAGE);
		tokens.push(...page);
		if (page.length < PAGE) break;
	}
	await snapshot.write(tokens);
	return tokens.length;
}
