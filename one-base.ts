import { measure } from "./load-base.ts";
const [, , a, s, b, o] = process.argv;
const r = measure(a as never, s as never, Number(b), Number(o ?? 400000));
console.log(a, s, b, (r.perSecond / 1e6).toFixed(3), r.heapMoves.toFixed(2), r.bytesPerWaiting.toFixed(0));
