/**
 * The thread that owns the embedded database: a commit, a checkpoint or a slow disk stalls this thread, not the one that
 * serves requests. Answers commands in the order in which they came.
 */
import { parentPort, workerData } from "node:worker_threads";
import { SqliteExecutor, type SqliteOptions } from "./sqlite-executor.ts";
import type { ThreadAnswer, ThreadRequest } from "./sqlite-worker.ts";

const port = parentPort;
if (port === null) throw new Error("sqlite-thread runs as a worker thread only");

function post(answer: ThreadAnswer): void {
	port?.postMessage(answer);
}

/** node:sqlite's fields do not survive a structured clone of an Error. */
function failure(error: unknown): ThreadAnswer["error"] {
	const { message, code, errcode } = error as Error & { code?: string; errcode?: number };
	return { message, code, errcode };
}

function open(): SqliteExecutor | undefined {
	try {
		const executor = new SqliteExecutor(workerData as SqliteOptions);
		post({ id: 0 });
		return executor;
	} catch (error) {
		post({ id: 0, error: failure(error) });
		return undefined;
	}
}

const executor = open();
port.on("message", ({ id, command }: ThreadRequest) => {
	try {
		if (command === "close") {
			executor?.close();
			post({ id });
			port.close();
		} else {
			post({ id, value: executor?.execute(command) });
		}
	} catch (error) {
		post({ id, error: failure(error) });
	}
});
