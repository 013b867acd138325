/**
 * What the SQL stores need from a database, whichever it is. Statements use `?` for parameters and the SQL that SQLite and
 * PostgreSQL share; whole numbers come back as JavaScript numbers, sums are cast to TEXT where they may pass 2^53.
 *
 * Invariant: statements of one transaction run on one connection, nothing else runs on it meanwhile, and a transaction whose
 * work rejects leaves no trace.
 */
export type SqlValue = string | number | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

export interface SqlSession {
	all(sql: string, parameters: readonly SqlValue[]): Promise<readonly SqlRow[]>;
	/** Answers the number of rows changed. */
	run(sql: string, parameters: readonly SqlValue[]): Promise<number>;
	/** The same statement with many parameter lists, in one round trip; answers the rows changed by each. */
	runMany(sql: string, parameterLists: readonly (readonly SqlValue[])[]): Promise<readonly number[]>;
}

export interface SqlDatabase {
	/** One statement that only reads, outside any transaction. */
	read(sql: string, parameters: readonly SqlValue[]): Promise<readonly SqlRow[]>;
	/** Waits for its turn, then runs `work` between BEGIN and COMMIT. Rejects with `StoreError`. */
	transaction<T>(work: (session: SqlSession) => Promise<T>): Promise<T>;
	close(): Promise<void>;
}

/** Conditions joined by AND, with their parameters in order. */
export class Where {
	readonly #conditions: string[] = [];
	readonly parameters: SqlValue[] = [];

	/** Adds `condition` unless `value` is undefined. */
	given(condition: string, ...values: readonly (SqlValue | undefined)[]): this {
		if (values.some((value) => value === undefined)) return this;
		this.#conditions.push(condition);
		this.parameters.push(...(values as readonly SqlValue[]));
		return this;
	}

	always(condition: string): this {
		this.#conditions.push(condition);
		return this;
	}

	toSql(): string {
		return this.#conditions.length === 0 ? "" : `WHERE ${this.#conditions.join(" AND ")}`;
	}
}
