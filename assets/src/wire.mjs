// What comes from the server, as text.

/** Calls receive(name, data, cursor) for every event of a response, until it ends. What ends a poll has a cursor alone.
 *
 * The server ends each line with \n and each event with an empty line, and gives each event a cursor. Something on the way may
 * make \r\n of \n. */
export const read = async (response, receive) => {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (let piece; !(piece = await reader.read()).done; ) {
    rest += piece.value.replace(/\r/g, '')
    const blocks = rest.split('\n\n')
    rest = blocks.pop()
    for (const block of blocks) {
      const fields = {}
      for (const line of block.split('\n')) {
        const [key, value] = line.split(/: ?(.*)/s)
        fields[key] = key in fields ? fields[key] + '\n' + value : value
      }
      receive(fields.event, fields.data, fields.id)
    }
  }
}

/** Returns how far cursor a is ahead of cursor b in what they count at part i: events at 0, states at 2. Nobody knows, and it
 * is NaN, if they do not count the same. */
export const ahead = (a, b, i) => {
  a = a.split('.')
  b = b.split('.')
  if (a[i] == b[i]) return a[++i] - b[i]
}
