/** crypto.randomUUID is missing on plain http, where this is needed most. */
export const newId = () => crypto.getRandomValues(new Uint32Array(4)).join('')
