/**
 * This thread's end of the database thread: commands out, promises back. An idle database does not keep the process alive;
 * a thread that dies rejects everything waiting and everything after.
 */
import { Worker } from "node:worker_threads";
import type { SqliteAnswer, SqliteCommand, SqliteOptions } from "./sqlite-executor.ts";

export interface ThreadRequest {
	readonly id: number;
	readonly command: SqliteCommand | "close";
}

export interface ThreadAnswer {
	/** 0 answers the opening. */
	readonly id: number;
	readonly value?: SqliteAnswer | undefined;
	readonly error?:
		| { readonly message: string; readonly code?: string | undefined; readonly errcode?: number | undefined }
		| undefined;
}

interface Waiting {
	readonly resolve: (value: SqliteAnswer | undefined) => void;
	readonly reject: (error: Error) => void;
}

export interface SqliteRunner {
	execute(command: SqliteCommand): Promise<SqliteAnswer>;
	close(): Promise<void>;
}

export class SqliteWorker implements SqliteRunner {
	readonly #worker: Worker;
	readonly #waiting = new Map<number, Waiting>();
	#lastId = 0;
	#dead: Error | undefined;

	private constructor(options: SqliteOptions) {
		// the same file as TypeScript in development and as JavaScript in dist
		const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
		this.#worker = new Worker(new URL(`./sqlite-thread.${extension}`, import.meta.url), {
			workerData: options,
			// flags of this process, such as --input-type, are not for the thread
			execArgv: [],
		});
		this.#worker.on("message", (answer: ThreadAnswer) => this.#settle(answer));
		this.#worker.on("error", (error: Error) => this.#die(error));
		this.#worker.on("exit", () => this.#die(new Error("the database thread has ended")));
	}

	/** Rejects with SQLite's error when the file cannot be opened. */
	static async open(options: SqliteOptions): Promise<SqliteWorker> {
		const worker = new SqliteWorker(options);
		try {
			await worker.#wait(0);
		} catch (error) {
			await worker.#worker.terminate();
			throw error;
		}
		return worker;
	}

	async execute(command: SqliteCommand): Promise<SqliteAnswer> {
		return (await this.#send(command)) as SqliteAnswer;
	}

	async close(): Promise<void> {
		if (this.#dead !== undefined) return;
		await this.#send("close");
		await this.#worker.terminate();
	}

	#send(command: SqliteCommand | "close"): Promise<SqliteAnswer | undefined> {
		if (this.#dead !== undefined) return Promise.reject(this.#dead);
		const id = ++this.#lastId;
		const answer = this.#wait(id);
		this.#worker.postMessage({ id, command } satisfies ThreadRequest);
		return answer;
	}

	#wait(id: number): Promise<SqliteAnswer | undefined> {
		return new Promise((resolve, reject) => {
			if (this.#waiting.size === 0) this.#worker.ref();
			this.#waiting.set(id, { resolve, reject });
		});
	}

	#settle({ id, value, error }: ThreadAnswer): void {
		const waiting = this.#waiting.get(id);
		this.#waiting.delete(id);
		if (this.#waiting.size === 0) this.#worker.unref();
		if (error === undefined) waiting?.resolve(value);
		else waiting?.reject(Object.assign(new Error(error.message), { code: error.code, errcode: error.errcode }));
	}

	#die(error: Error): void {
		this.#dead ??= error;
		for (const { reject } of this.#waiting.values()) reject(this.#dead);
		this.#waiting.clear();
	}
}
