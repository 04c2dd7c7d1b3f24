// Times, in ms. What comes from outside reaches a timer only through one of these.

/** Monotonic: a clock that is corrected says nothing of the time that has passed. */
export const now = () => performance.now()

/** A number that is at most so much, or another one in place of what is less than the least, or no number. */
export const within = (value, least, most, otherwise) => (value >= least ? Math.min(value, most) : otherwise)

/** What a Retry-After header says, in ms: seconds or an HTTP date, 5 minutes at most. Anything else counts as none. */
export const retryAfter = (header) =>
  within(/\D/.test(header) ? Date.parse(header) - Date.now() : header * 1000, 0, 300000, 0)

/** How long to wait before the next attempt. Capped first and jittered after, so that clients which lost their server at the
 * same moment stay apart, at the cap too. */
export const delay = (base, failures, after) =>
  after + (Math.min(base * 2 ** failures, 30000) * (1 + Math.random())) / 2
