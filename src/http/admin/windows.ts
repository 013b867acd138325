/** `/v1/admin/time-windows`: changes of policy by calendar. A change is in force when it is acknowledged. */
import { z } from "zod";
import {
	type Adjustments,
	DELTAS,
	MULTIPLIERS,
	OVERRIDES,
	TARGET_TYPES,
	type TimeWindow,
	type WindowRule,
} from "../../core/allocate/time-window.ts";
import { parseSchedule, SCHEDULE_TYPES } from "../../core/allocate/time-window-schedule.ts";
import { MILLIS_PER_SECOND } from "../../core/model/units.ts";
import { nextChange, type WindowState, windowStates } from "../../engine/window-keeper.ts";
import type { NewWindow } from "../../ports/window-store.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, fromStore, refuse } from "./admin-error.ts";
import { id, level, message, name, shownTime, time } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { checkLevel } from "./tokens.ts";
import { epochOf, given, instant, listBody, snakeName } from "./wire.ts";

/** A year and a day: longer than that is no window. */
const LONGEST_SEC = 366 * 86_400;
const RENAMED = { durationMs: "duration_sec" };

const multiplier = z.number().positive().max(1000).nullish();
const adjustments = z.strictObject({
	priority_override: level.nullish().describe("level that stands in place of any other"),
	priority_delta: z.number().int().min(-19).max(19).nullish().describe("added to the level; above 0 is worse"),
	bucket_shift: z.number().int().min(-99).max(99).nullish().describe("added to the bucket; above 0 is worse"),
	weight_multiplier: multiplier.describe("of the weight inside its queue"),
	quota_multiplier: multiplier.describe("of the limits of its budgets"),
	capacity_multiplier: multiplier.describe(
		"of the capacity of all pools (target all), or the most that a tier may use of the capacity guard's max_tps (target tier, 0 to 1)",
	),
	queue_timeout_multiplier: multiplier.describe("of how long it may wait"),
	max_queue_depth_multiplier: multiplier.describe("of how many may wait"),
	cost_multiplier: multiplier.describe("of its price in the ledger"),
	internal_limit_pct: z
		.number()
		.min(1)
		.max(100)
		.nullish()
		.describe("percent of internal usage from which the capacity guard keeps external work out; with target all"),
});

const rule = z.strictObject({
	target_type: z.enum(TARGET_TYPES),
	target_value: name.nullish().describe("which environment, tier, …; not with all"),
	adjustments,
});

const fields = {
	schedule_type: z.enum(SCHEDULE_TYPES),
	schedule_expr: z
		.string()
		.min(1)
		.max(200)
		.describe("cron: minute hour day-of-month month day-of-week; one_time: an instant, or a local time of the zone"),
	duration_sec: z.number().int().min(1).max(LONGEST_SEC),
	rules: z.array(rule).min(1).max(100),
};

export const newWindow = z.strictObject({
	id: id.nullish(),
	name,
	...fields,
	timezone: z.string().min(1).max(64).nullish().describe("IANA name (UTC)"),
	enabled: z.boolean().nullish(),
	order: z.number().nullish().describe("of windows that overlap the lowest wins an override (100)"),
});

const windowPatch = z.strictObject({
	name: name.optional(),
	schedule_type: fields.schedule_type.optional(),
	schedule_expr: fields.schedule_expr.optional(),
	duration_sec: fields.duration_sec.optional(),
	rules: fields.rules.optional(),
	timezone: z.string().min(1).max(64).optional(),
	enabled: z.boolean().optional(),
	order: z.number().optional(),
});

const shownRule = z.object({
	target_type: z.enum(TARGET_TYPES),
	target_value: z.string().nullable(),
	adjustments: z.record(z.string(), z.number()),
});
const shownWindow = z.object({
	id: z.string(),
	name: z.string(),
	schedule_type: z.enum(SCHEDULE_TYPES),
	schedule_expr: z.string(),
	duration_sec: z.number(),
	timezone: z.string(),
	enabled: z.boolean(),
	order: z.number(),
	rules: z.array(shownRule),
	active: z.boolean(),
	active_since: shownTime.nullable(),
	active_until: shownTime.nullable(),
	next_start: shownTime.nullable(),
});
const changedWindow = z.object({ window_id: z.string(), message });
const windowParams = z.object({ window_id: id });

const ADJUSTMENTS = [...OVERRIDES, ...DELTAS, ...MULTIPLIERS];

/** Percent on the wire are fractions inside. */
function unitOf(field: string): number {
	return field.endsWith("Pct") ? 100 : 1;
}

function showAdjustments(of: Adjustments): Record<string, number> {
	return Object.fromEntries(
		ADJUSTMENTS.flatMap((field) =>
			of[field] === undefined ? [] : [[snakeName(field), Math.round(of[field] * unitOf(field) * 1e6) / 1e6]],
		),
	);
}

function showState({ window, span, nextStart }: WindowState): z.infer<typeof shownWindow> {
	const holds = window.enabled ? span : undefined;
	return {
		id: window.id,
		...showWindow(window),
		active: holds !== undefined,
		active_since: instant(holds?.start),
		active_until: instant(holds?.end),
		next_start: instant(window.enabled ? nextStart : undefined),
	};
}

/** What it says, without when it holds. */
export function showWindow(window: Omit<TimeWindow, "id">) {
	return {
		name: window.name,
		schedule_type: window.scheduleType,
		schedule_expr: window.scheduleExpr,
		duration_sec: window.durationMs / MILLIS_PER_SECOND,
		timezone: window.timezone,
		enabled: window.enabled,
		order: window.order,
		rules: window.rules.map(({ targetType, targetValue, adjustments: own }) => ({
			target_type: targetType,
			target_value: targetValue ?? null,
			adjustments: showAdjustments(own),
		})),
	};
}

function shown(context: AdminContext, window: TimeWindow) {
	return showState(windowStates([window], context.epochNow(), context.zoneOffset)[0]!);
}

function rulesOf(body: readonly z.infer<typeof rule>[]): readonly WindowRule[] {
	return body.map(({ target_type, target_value, adjustments: own }) => ({
		targetType: target_type,
		...(typeof target_value === "string" ? { targetValue: target_value } : {}),
		adjustments: given(
			Object.fromEntries(
				ADJUSTMENTS.map((field) => {
					const value = own[snakeName(field) as keyof typeof own];
					return [field, typeof value === "number" ? value / unitOf(field) : value];
				}),
			),
		) as Adjustments,
	}));
}

export function windowOf(body: z.infer<typeof newWindow>): NewWindow {
	return {
		...given({ id: body.id, enabled: body.enabled, order: body.order }),
		name: body.name,
		scheduleType: body.schedule_type,
		scheduleExpr: body.schedule_expr,
		durationMs: body.duration_sec * MILLIS_PER_SECOND,
		timezone: body.timezone ?? "UTC",
		rules: rulesOf(body.rules),
	};
}

/** What single fields cannot tell. */
export function wrongWindow(context: AdminContext, window: Omit<TimeWindow, "id">): AdminRefusal | undefined {
	if (!context.isZone(window.timezone)) {
		const allowed = "IANA names such as Europe/Berlin or UTC";
		return refuse("invalid_request", `timezone "${window.timezone}" is not known: allowed are ${allowed}`, "timezone");
	}
	const parsed = parseSchedule(window, context.zoneOffset);
	if (!parsed.ok) return refuse("invalid_request", `schedule_expr: ${parsed.message}`, "schedule_expr");
	for (const [at, { targetType, targetValue, adjustments: own }] of window.rules.entries()) {
		const place = `rules.${at}`;
		if ((targetType === "all") === (targetValue !== undefined)) {
			const wanted =
				targetType === "all" ? "target all has no target_value" : `target ${targetType} needs target_value`;
			return refuse("invalid_request", wanted, `${place}.target_value`);
		}
		if (Object.keys(own).length === 0) {
			return refuse("invalid_request", `${place} adjusts nothing: name an adjustment`, `${place}.adjustments`);
		}
		for (const field of ["capacityMultiplier", "internalLimitPct"] as const) {
			if (own[field] === undefined || targetType === "all") continue;
			if (field === "capacityMultiplier" && targetType === "tier") {
				if (own[field] <= 1) continue;
				const allowed = "capacity_multiplier of a tier is its share of the guard's max_tps: at most 1";
				return refuse("invalid_request", allowed, `${place}.adjustments.capacity_multiplier`);
			}
			const wire = snakeName(field);
			const sentence = `${wire} goes with target all${field === "capacityMultiplier" ? " (the pools) or tier (its share under the guard)" : ""}, not with ${targetType}`;
			return refuse("invalid_request", sentence, `${place}.adjustments.${wire}`);
		}
		const wrongLevel = checkLevel(context, `${place}.adjustments.priority_override`, own.priorityOverride);
		if (wrongLevel !== undefined) return wrongLevel;
	}
	return undefined;
}

const create = operation(
	{
		method: "POST",
		path: "/time-windows",
		summary: "Create a time window",
		body: newWindow,
		status: 201,
		answer: changedWindow,
	},
	async (context, { body, actor }) => {
		const window = windowOf(body);
		const wrong = wrongWindow(context, { enabled: true, order: 0, ...window });
		if (wrong !== undefined) return wrong;
		const result = await context.stores.windows.create(window, actor);
		if (!result.ok) return fromStore(result, RENAMED);
		await context.policyChanged();
		const { active, next_start } = shown(context, result.value);
		const when = active ? "holds now" : next_start === null ? "will never hold" : `holds next from ${next_start}`;
		const off = result.value.enabled ? "" : ", and is not enabled";
		return answer({ window_id: result.value.id, message: `Time window "${result.value.name}" ${when}${off}.` });
	},
);

const list = operation(
	{
		method: "GET",
		path: "/time-windows",
		summary: "List time windows, in order of id, with when they hold",
		query: z.strictObject(pageQuery),
		answer: listAnswer("windows", shownWindow),
	},
	async (context, { query }) => {
		const page = await context.stores.windows.list(pageOf(query));
		return answer(listBody("windows", page, (window) => shown(context, window)));
	},
);

const preview = operation(
	{
		method: "GET",
		path: "/time-windows/preview",
		summary: "Which windows hold at an instant, and what changes next",
		query: z.strictObject({ at: time.optional().describe("now") }),
		answer: z.object({
			at: shownTime,
			windows: z.array(shownWindow).describe("those that hold, in order"),
			next_change: shownTime.nullable(),
		}),
	},
	async (context, { query }) => {
		const at = query.at === undefined ? context.epochNow() : epochOf(query.at);
		const windows = await context.stores.windows.all();
		const states = windowStates(windows, at, context.zoneOffset);
		return answer({
			at: instant(at),
			windows: states.filter(({ window, span }) => window.enabled && span !== undefined).map(showState),
			next_change: instant(nextChange(windows, at, context.zoneOffset)),
		});
	},
);

const get = operation(
	{
		method: "GET",
		path: "/time-windows/{window_id}",
		summary: "Show a time window",
		params: windowParams,
		answer: shownWindow,
	},
	async (context, { params }) => {
		const window = await context.stores.windows.get(params.window_id);
		if (window === undefined) return refuse("not_found", `time window "${params.window_id}" does not exist`);
		return answer(shown(context, window));
	},
);

const update = operation(
	{
		method: "PATCH",
		path: "/time-windows/{window_id}",
		summary: "Change fields of a time window; rules are replaced as a whole",
		params: windowParams,
		body: windowPatch,
		answer: shownWindow,
	},
	async (context, { params, body, actor }) => {
		const before = await context.stores.windows.get(params.window_id);
		if (before === undefined) return refuse("not_found", `time window "${params.window_id}" does not exist`);
		const patch = given({
			name: body.name,
			scheduleType: body.schedule_type,
			scheduleExpr: body.schedule_expr,
			durationMs: body.duration_sec === undefined ? undefined : body.duration_sec * MILLIS_PER_SECOND,
			timezone: body.timezone,
			enabled: body.enabled,
			order: body.order,
			rules: body.rules === undefined ? undefined : rulesOf(body.rules),
		});
		const wrong = wrongWindow(context, { ...before, ...patch });
		if (wrong !== undefined) return wrong;
		const result = await context.stores.windows.update(params.window_id, patch, actor);
		if (!result.ok) return fromStore(result, RENAMED);
		await context.policyChanged();
		return answer(shown(context, result.value));
	},
);

const remove = operation(
	{
		method: "DELETE",
		path: "/time-windows/{window_id}",
		summary: "Delete a time window: it holds no longer",
		params: windowParams,
		answer: changedWindow,
	},
	async (context, { params, actor }) => {
		const result = await context.stores.windows.delete(params.window_id, actor);
		if (!result.ok) return fromStore(result);
		await context.policyChanged();
		return answer({ window_id: params.window_id, message: `Time window "${result.value.name}" is gone.` });
	},
);

export const windowOperations: readonly Operation[] = [create, list, preview, get, update, remove];
