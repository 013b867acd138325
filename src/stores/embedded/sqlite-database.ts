/**
 * The embedded database as the SQL stores see it: one transaction at a time, reads beside it. A lock of another process is
 * waited for with timers, up to `lockTimeoutMs`; nothing here blocks the calling thread for that.
 */
import type { Timers } from "../../ports/clock.ts";
import { StoreError } from "../../ports/store-error.ts";
import type { SqlDatabase, SqlRow, SqlSession, SqlValue } from "../sql/sql-database.ts";
import { isLocked, toStoreError } from "./sqlite-error.ts";
import { type SqliteCommand, SqliteExecutor, type SqliteOptions } from "./sqlite-executor.ts";
import { type SqliteRunner, SqliteWorker } from "./sqlite-worker.ts";

export interface EmbeddedOptions extends SqliteOptions {
	/** `false` runs on the calling thread: for short commands. Default: a thread of its own. */
	readonly thread?: boolean;
	/** How long a transaction waits for another process's lock (5 s). */
	readonly lockTimeoutMs?: number;
	readonly timers?: Timers;
}

const LOCK_TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 2;
const LONGEST_RETRY_MS = 100;

const REAL_TIMERS: Timers = {
	after(delayMs, callback) {
		const timer = setTimeout(callback, delayMs);
		return () => clearTimeout(timer);
	},
};

export class SqliteDatabase implements SqlDatabase {
	readonly path: string;
	readonly #runner: SqliteRunner;
	readonly #lockTimeoutMs: number;
	readonly #timers: Timers;
	readonly #session: SqlSession;
	/** Reads go through the writer's queue when both are one connection. */
	readonly #readsShareWriter: boolean;
	#lastTurn: Promise<unknown> = Promise.resolve();

	private constructor(options: EmbeddedOptions, runner: SqliteRunner) {
		this.path = options.path;
		this.#runner = runner;
		this.#lockTimeoutMs = options.lockTimeoutMs ?? LOCK_TIMEOUT_MS;
		this.#timers = options.timers ?? REAL_TIMERS;
		this.#readsShareWriter = options.path === ":memory:";
		this.#session = {
			all: async (sql, parameters) =>
				(await this.#execute({ kind: "all", on: "writer", sql, parameters })) as readonly SqlRow[],
			run: async (sql, parameters) => (await this.#execute({ kind: "run", on: "writer", sql, parameters })) as number,
			runMany: async (sql, parameterLists) =>
				(await this.#execute({
					kind: "many",
					sql,
					parameterLists: JSON.stringify(parameterLists),
				})) as readonly number[],
		};
	}

	/** Rejects with `StoreError`. */
	static async open(options: EmbeddedOptions): Promise<SqliteDatabase> {
		const { path, maxPages, readOnly, timers = REAL_TIMERS, lockTimeoutMs = LOCK_TIMEOUT_MS } = options;
		const sqlite: SqliteOptions = {
			path,
			...(maxPages === undefined ? {} : { maxPages }),
			...(readOnly === undefined ? {} : { readOnly }),
		};
		const open = async (): Promise<SqliteRunner> => {
			try {
				return options.thread === false ? inlineRunner(sqlite) : await SqliteWorker.open(sqlite);
			} catch (error) {
				throw toStoreError(error, path);
			}
		};
		return new SqliteDatabase(options, await retryWhileLocked(open, timers, lockTimeoutMs));
	}

	async read(sql: string, parameters: readonly SqlValue[]): Promise<readonly SqlRow[]> {
		if (this.#readsShareWriter) return this.#inTurn(() => this.#session.all(sql, parameters));
		const read = async () => (await this.#execute({ kind: "all", on: "reader", sql, parameters })) as readonly SqlRow[];
		return retryWhileLocked(read, this.#timers, this.#lockTimeoutMs);
	}

	transaction<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
		return this.#transaction("BEGIN IMMEDIATE", work);
	}

	/** For migrations: shuts out every other process's transactions; `script` runs inside it. */
	exclusive<T>(work: (session: SqlSession, script: (sql: string) => Promise<void>) => Promise<T>): Promise<T> {
		return this.#transaction("BEGIN EXCLUSIVE", (session) => work(session, (sql) => this.#script(sql)));
	}

	/** One statement outside any transaction, such as VACUUM INTO. */
	statement(sql: string, parameters: readonly SqlValue[]): Promise<void> {
		return this.#inTurn(async () => {
			await this.#session.run(sql, parameters);
		});
	}

	async close(): Promise<void> {
		await this.#inTurn(() => this.#runner.close());
	}

	async #transaction<T>(begin: string, work: (session: SqlSession) => Promise<T>): Promise<T> {
		return this.#inTurn(async () => {
			await retryWhileLocked(() => this.#script(begin), this.#timers, this.#lockTimeoutMs);
			try {
				const value = await work(this.#session);
				await this.#script("COMMIT");
				return value;
			} catch (error) {
				// a full disk or an I/O error may have rolled back already: then this fails, and the first error is the one that counts
				await this.#script("ROLLBACK").catch(() => undefined);
				throw error;
			}
		});
	}

	async #script(sql: string): Promise<void> {
		await this.#execute({ kind: "script", sql });
	}

	async #execute(command: SqliteCommand) {
		try {
			return await this.#runner.execute(command);
		} catch (error) {
			throw toStoreError(error, this.path);
		}
	}

	#inTurn<T>(work: () => Promise<T>): Promise<T> {
		const turn = this.#lastTurn.then(work, work);
		this.#lastTurn = turn.catch(() => undefined);
		return turn;
	}
}

function inlineRunner(options: SqliteOptions): SqliteRunner {
	const executor = new SqliteExecutor(options);
	return {
		execute: async (command) => executor.execute(command),
		close: async () => executor.close(),
	};
}

async function retryWhileLocked<T>(attempt: () => Promise<T>, timers: Timers, timeoutMs: number): Promise<T> {
	let waitedMs = 0;
	let delayMs = FIRST_RETRY_MS;
	for (;;) {
		try {
			return await attempt();
		} catch (error) {
			if (!isLocked(error)) throw error;
			if (waitedMs >= timeoutMs) {
				throw new StoreError("locked", `${(error as Error).message}; waited ${timeoutMs} ms`, { cause: error });
			}
			await new Promise<void>((resolve) => timers.after(delayMs, resolve));
			waitedMs += delayMs;
			delayMs = Math.min(delayMs * 2, LONGEST_RETRY_MS);
		}
	}
}
