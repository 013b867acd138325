/** `/v1/admin/config`: what holds and where it comes from; reload. */
import { z } from "zod";
import { formatProblem } from "../../config/problem.ts";
import { refuse } from "./admin-error.ts";
import { message } from "./fields.ts";
import { answer, type Operation, operation } from "./operation.ts";

const NO_GATEWAY =
	"no gateway that knows its configuration runs here: `tokligence config show` prints what a start would use";

export const configOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/config",
			summary: "Every effective value and its source; secrets are never values, only names of variables",
			answer: z.object({
				file: z.string().nullable(),
				values: z.array(
					z.object({
						section: z.string(),
						key: z.string(),
						value: z.string(),
						note: z.string().nullable(),
						source: z.enum(["default", "file", "environment", "set", "flag"]),
						where: z.string(),
					}),
				),
				count: z.number(),
				next_cursor: z.null(),
			}),
		},
		(context) => {
			if (context.config === undefined) return refuse("not_available", NO_GATEWAY);
			const values = context.config.effective().map(({ section, key, value, note, source, where }) => ({
				section,
				key,
				value,
				note: note ?? null,
				source,
				where,
			}));
			return answer({ file: context.config.file() ?? null, values, count: values.length, next_cursor: null });
		},
	),
	operation(
		{
			method: "POST",
			path: "/config/reload",
			summary: "Read the configuration again: everything it changes, or nothing",
			answer: z.object({ changed: z.array(z.string()), needs_restart: z.array(z.string()), message }),
		},
		async (context, { actor }) => {
			if (context.config === undefined) return refuse("not_available", NO_GATEWAY);
			const result = await context.config.reload();
			if (!result.ok) {
				const problems = result.problems.map(({ where, section, key, message: text }) => ({
					path: [where, section, key].flatMap((part) => (part === undefined || part === "" ? [] : [part])),
					message: text,
				}));
				const sentence = `nothing was changed: ${result.problems.map(formatProblem).join("; ")}`;
				return { ...refuse("invalid_request", sentence), problems };
			}
			const { changed, needsRestart } = result;
			await context.stores.audit.record({
				actor,
				action: "config.reload",
				subject: "config",
				after: { changed, needsRestart },
			});
			const waiting = needsRestart.length === 0 ? "" : `, ${needsRestart.length} wait for the next start`;
			return answer({
				changed,
				needs_restart: needsRestart,
				message: `${inForce(changed.length)}${waiting}.`,
			});
		},
	),
];

function inForce(count: number): string {
	if (count === 0) return "Nothing changed";
	return count === 1 ? "1 value is in force" : `${count} values are in force`;
}
