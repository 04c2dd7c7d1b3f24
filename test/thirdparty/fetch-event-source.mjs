// The npm package "@microsoft/fetch-event-source", as its README has it: each message is JSON. It is written for pages.
import { fetchEventSource } from '@microsoft/fetch-event-source'

globalThis.window = globalThis

await fetchEventSource(process.argv[2], {
  openWhenHidden: true,
  onmessage({ event, data }) {
    console.log(event, JSON.stringify(JSON.parse(data)))
  },
  onerror(error) {
    console.log('error', error.message)
  },
  onclose() {
    throw new Error('the stream has ended') // "if the server closes the connection unexpectedly, retry"
  },
})
