// What is this tab's own.

/** crypto.randomUUID is missing on plain http, where this is needed most. */
export const newId = () => crypto.getRandomValues(new Uint32Array(4)).join('')

/** What this tab remembers until it is closed: returns it, and puts a value in its place if there is one. Storage may be
 * forbidden. */
export const memory = (key, value) => {
  try {
    const before = sessionStorage[key]
    if (value != undefined) sessionStorage[key] = value
    return before
  } catch {}
}
