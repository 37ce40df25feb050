// Numbers, sizes and times as text.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });

/** Writes a count in full: `12,345`. */
export function count(value: number): string {
  return NUMBER.format(value);
}

/** Writes a number with three digits: `12.3K`. */
export function short(value: number): string {
  return SHORT.format(value);
}

/** Writes a rate: `12.3/s`. */
export function rate(perSecond: number): string {
  return `${perSecond > 0 && perSecond < 0.01 ? "<0.01" : short(perSecond)}/s`;
}

/** Writes a size in units of 1,024. */
export function bytes(value: number): string {
  return scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
}

/** Writes a duration that is given in microseconds. */
export function duration(us: number): string {
  if (us >= 60e6) {
    const seconds = Math.round(us / 1e6);
    return seconds < 3600 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : hours(seconds);
  }
  return scaled(us, 1000, ["µs", "ms", "s"]);
}

function hours(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60 * 24) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** Writes an energy that is given in joules. */
export function energy(joules: number): string {
  return joules < 1 ? scaled(joules * 1e6, 1000, ["µJ", "mJ", "J"]) : scaled(joules, 1000, ["J", "kJ", "MJ"]);
}

/** Writes a share from 0 to 1; a dash for a share of nothing. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return "–";
  const percent = share * 100;
  if (percent > 0 && percent < 0.1) return "<0.1 %";
  if (percent > 99.9 && percent < 100) return ">99.9 %";
  return `${Number(percent.toFixed(1))} %`;
}

function scaled(value: number, step: number, units: string[]): string {
  let [scaled, at] = [value, 0];
  while (scaled >= step && at < units.length - 1) [scaled, at] = [scaled / step, at + 1];
  const digits = at === 0 && Number.isInteger(value) ? 0 : scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${Number(scaled.toFixed(digits))} ${units[at] ?? ""}`;
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** Writes a time of day, with the date if it isn't today. Takes microseconds since the Unix epoch. */
export function clock(unixUs: number): string {
  const at = new Date(unixUs / 1000);
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? TIME.format(at) : `${DATE.format(at)}, ${TIME.format(at)}`;
}

/** Writes a date with the time. Takes seconds since the Unix epoch. */
export function date(unixS: number): string {
  const at = new Date(unixS * 1000);
  return `${DATE.format(at)}, ${MINUTE.format(at)}`;
}

/** Writes the first digits of a digest. */
export function digest(full: string): string {
  return `${full.replace("sha256:", "").slice(0, 12)}…`;
}

/** Writes a number of things: `1 call`, `2 calls`. */
export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}
