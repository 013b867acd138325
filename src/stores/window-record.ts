/** What every window store does alike. */
import type { TimeWindow } from "../core/allocate/time-window.ts";
import type { NewWindow } from "../ports/window-store.ts";
import { refused, type WriteRefusal } from "../ports/write-result.ts";
import { newId } from "./record.ts";

const DEFAULT_ORDER = 100;

export function createdWindow(window: NewWindow): TimeWindow {
	return {
		...window,
		id: window.id ?? newId("window"),
		enabled: window.enabled ?? true,
		order: window.order ?? DEFAULT_ORDER,
	};
}

/** Undefined when id and name are free. */
export function takenBy(others: readonly TimeWindow[], window: TimeWindow): WriteRefusal | undefined {
	if (others.some(({ id }) => id === window.id)) {
		return refused("conflict", `time window "${window.id}" exists already: choose another id`, "id");
	}
	if (others.some(({ name }) => name === window.name)) {
		return refused("conflict", `a time window named "${window.name}" exists already: names are unique`, "name");
	}
	return undefined;
}

export function unknownWindow(id: string): WriteRefusal {
	return refused("not_found", `time window "${id}" does not exist`);
}
