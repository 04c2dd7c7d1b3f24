// What comes from the server, as text.

/** Calls receive(name, data, cursor) for every event of a response, until it ends. What ends a poll has a cursor alone.
 *
 * The server ends each line with \n and each event with an empty line, and gives each event a cursor. Data is JSON, in which
 * the end of a line means nothing. Something on the way may make \r\n of \n. */
export const read = async (response, receive) => {
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  for (let piece; !(piece = await reader.read()).done; ) {
    rest += decoder.decode(piece.value, { stream: true }).replace(/\r/g, '')
    const blocks = rest.split('\n\n')
    rest = blocks.pop()
    for (const block of blocks) {
      const fields = { data: '' }
      for (const line of block.split('\n')) {
        const [key, value] = line.split(/: ?(.*)/s)
        fields[key] = (key == 'data' ? fields.data : '') + value
      }
      if (fields.id) receive(fields.event, fields.data && JSON.parse(fields.data), fields.id)
    }
  }
}

/** Whether cursor a is not past cursor b in what they count at part i: events at 0, states at 2. */
export const old = (a, b, i) => {
  a = a.split('.')
  b = b.split('.')
  return a[i] == b[i] && +a[i + 1] <= b[i + 1]
}
