/** Time zones as the time-zone database of the platform knows them. */
import type { ZoneOffset } from "../core/model/civil-time.ts";

export interface Calendar {
	/** Throws on a zone that `isZone` does not know. */
	readonly offset: ZoneOffset;
	/** Whether the name is one of the time-zone database, such as `Europe/Berlin`. */
	isZone(name: string): boolean;
}
