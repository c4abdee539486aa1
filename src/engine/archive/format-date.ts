/**
 * Times of commits as git-log writes them, in the time zone of whoever made the commit.
 *
 *     d  Tue Nov 14 23:13:20 2023 +0100     D  Tue, 14 Nov 2023 23:13:20 +0100
 *     i  2023-11-14 23:13:20 +0100          I  2023-11-14T23:13:20+01:00      s  2023-11-14
 */
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** @param zone `+hhmm` @returns undefined for a form that is not known, or a time that is none */
export function formatDate(form: string, seconds: number, zone: string): string | undefined {
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3));
  const at = new Date((seconds + (zone.startsWith("-") ? -60 : 60) * minutes) * 1000);
  if (Number.isNaN(at.getTime())) return undefined;
  const [date = "", time = ""] = at.toISOString().slice(0, 19).split("T");
  const day = DAYS[at.getUTCDay()];
  const month = MONTHS[at.getUTCMonth()];
  switch (form) {
    case "d":
      return `${day} ${month} ${at.getUTCDate()} ${time} ${at.getUTCFullYear()} ${zone}`;
    case "D":
      return `${day}, ${at.getUTCDate()} ${month} ${at.getUTCFullYear()} ${time} ${zone}`;
    case "i":
      return `${date} ${time} ${zone}`;
    case "I":
      return `${date}T${time}${zone.slice(0, 3)}:${zone.slice(3)}`;
    case "s":
      return date;
    default:
      return undefined;
  }
}
