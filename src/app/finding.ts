/** What one check of `tokligence doctor` found. */
export interface Finding {
	/** `database`, `port`, `provider default`, … */
	readonly check: string;
	readonly status: "ok" | "warn" | "fail";
	/** What is so. */
	readonly message: string;
	/** What to do; absent when there is nothing to do. */
	readonly advice?: string;
}

export function ok(check: string, message: string): Finding {
	return { check, status: "ok", message };
}

export function warn(check: string, message: string, advice: string): Finding {
	return { check, status: "warn", message, advice };
}

export function fail(check: string, message: string, advice: string): Finding {
	return { check, status: "fail", message, advice };
}
