/**
 * Runs statements on SQLite, synchronously, on whichever thread it lives. Two connections to one file: `writer` for
 * transactions and `reader` for everything else, so that a writer that waits for its lock never holds up a look-up
 * (WAL: readers see the last commit). Statements are prepared once.
 *
 * `busy_timeout` is 0: waiting for another process's lock is done by the caller with timers, not by blocking this thread.
 */
import { chmodSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { SqlRow, SqlValue } from "../sql/sql-database.ts";

export type SqliteConnection = "writer" | "reader";

export type SqliteCommand =
	| {
			readonly kind: "all" | "run";
			readonly on: SqliteConnection;
			readonly sql: string;
			readonly parameters: readonly SqlValue[];
	  }
	/** The parameter lists as JSON: to another thread, text costs a third of what copied arrays do. */
	| { readonly kind: "many"; readonly sql: string; readonly parameterLists: string }
	/** Statements without parameters, several in one text. */
	| { readonly kind: "script"; readonly sql: string };

export type SqliteAnswer = readonly SqlRow[] | readonly number[] | number;

export interface SqliteOptions {
	/** A file, or `:memory:`. */
	readonly path: string;
	/** Pages; for tests of a full disk. */
	readonly maxPages?: number;
	readonly readOnly?: boolean;
}

const IN_MEMORY = ":memory:";

export class SqliteExecutor {
	readonly #writer: DatabaseSync;
	readonly #reader: DatabaseSync;
	readonly #statements = new Map<string, StatementSync>();

	constructor({ path, maxPages, readOnly = false }: SqliteOptions) {
		this.#writer = new DatabaseSync(path, { timeout: 0, readOnly });
		try {
			if (path !== IN_MEMORY && !readOnly) {
				chmodSync(path, 0o600);
				this.#writer.exec("PRAGMA journal_mode = WAL");
			}
			// FULL: the journal drops rows once their batch is committed, so a commit must survive a power failure
			this.#writer.exec("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
			if (maxPages !== undefined) this.#writer.exec(`PRAGMA max_page_count = ${Math.trunc(maxPages)}`);
			this.#reader = path === IN_MEMORY ? this.#writer : new DatabaseSync(path, { timeout: 0, readOnly: true });
		} catch (error) {
			this.#writer.close();
			throw error;
		}
	}

	execute(command: SqliteCommand): SqliteAnswer {
		switch (command.kind) {
			case "all":
				return this.#statement(command.on, command.sql).all(...command.parameters) as SqlRow[];
			case "run":
				return Number(this.#statement(command.on, command.sql).run(...command.parameters).changes);
			case "many": {
				const statement = this.#statement("writer", command.sql);
				const lists = JSON.parse(command.parameterLists) as readonly (readonly SqlValue[])[];
				return lists.map((parameters) => Number(statement.run(...parameters).changes));
			}
			case "script":
				this.#writer.exec(command.sql);
				return 0;
		}
	}

	close(): void {
		this.#statements.clear();
		if (this.#reader !== this.#writer) this.#reader.close();
		this.#writer.close();
	}

	#statement(on: SqliteConnection, sql: string): StatementSync {
		const key = `${on}:${sql}`;
		let statement = this.#statements.get(key);
		if (statement === undefined) {
			statement = (on === "writer" ? this.#writer : this.#reader).prepare(sql);
			this.#statements.set(key, statement);
		}
		return statement;
	}
}
