/** Changes of the policy that another process made in the database: looked for by its version, one indexed read. */
import type { Logger } from "pino";

const POLL_MS = 100;

export interface WatchedPolicy {
	version(): Promise<number>;
	/** Reads the policy again. One that fails is tried again at the next look. */
	changed(): Promise<void>;
	readonly log: Pick<Logger, "info" | "error">;
}

/** Resolves, once the version now is known, to what ends it. */
export async function watchPolicy({ version, changed, log }: WatchedPolicy): Promise<() => void> {
	let known = await version();
	const look = async () => {
		const now = await version();
		if (now === known) return;
		await changed();
		known = now;
	};
	let isLooking = false;
	let fails = false;
	const timer = setInterval(() => {
		if (isLooking) return;
		isLooking = true;
		look()
			.then(
				() => {
					if (fails) log.info("policy store answers again");
					fails = false;
				},
				(error: unknown) => {
					// once, and not ten times a second until somebody mends it
					if (!fails) log.error({ error: String(error) }, "policy store does not answer, the last policy holds");
					fails = true;
				},
			)
			.finally(() => {
				isLooking = false;
			});
	}, POLL_MS);
	timer.unref();
	return () => clearInterval(timer);
}
