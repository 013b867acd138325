/** Differences of a policy as people read them: `+` comes, `~` changes, `-` goes. */
import type { PolicyAnswer, PolicyDifference } from "./policy-file.ts";

const SIGNS = { create: "+", update: "~", delete: "-" } as const;

export function differencesText({ changes, message }: PolicyAnswer): string {
	return [...changes.map(differenceText), message].join("\n");
}

function differenceText({ action, kind, name, before, after }: PolicyDifference): string {
	const heading = `${SIGNS[action]} ${kind} ${JSON.stringify(name)}`;
	if (action === "delete") return heading;
	const lines = Object.entries(after ?? {}).map(([field, value]) => {
		const old = action === "update" ? `${shown(before?.[field])} → ` : "";
		return `    ${field}: ${old}${shown(value)}`;
	});
	return [heading, ...lines].join("\n");
}

/** As JSON: nothing in a name steers the terminal. */
function shown(value: unknown): string {
	return value === null || value === undefined ? "nothing" : JSON.stringify(value);
}
